"""Applies command-line settings such as `--users 2000` and `--set pool.size=40` to a scenario."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rushhour.errors import UsageError
from rushhour.rundir.masking import MASK, is_secret_name
from rushhour.scenario.keys import keys_at, unknown_key
from rushhour.scenario.model import SCENARIO, Scenario
from rushhour.scenario.rules import besides_arrivals, contradictions

FREE: Final = (("service", "environment"), ("target", "environment"))  # mappings that take any key
NOT_SET: Final = ("name",)  # runs are found by it


@dataclass(frozen=True, slots=True)
class Setting:
    """A key such as `load.think_time`, its value as YAML text, and how it was given."""

    key: str
    text: str
    given: str  # "--users 2000", for messages

    @property
    def path(self) -> tuple[str, ...]:
        parts = tuple(self.key.split("."))
        return (*parts[:2], ".".join(parts[2:])) if parts[:2] in FREE and len(parts) > 2 else parts


def parse_setting(text: str) -> Setting:
    """Parse `KEY=VALUE`. Raises ValueError otherwise."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise ValueError(f"--set {text}: write KEY=VALUE, as in --set load.think_time=3s")
    key = key.strip()
    given = f"--set {key}={MASK}" if is_secret_name(key.rpartition(".")[2]) else f"--set {text}"
    return Setting(key, value.strip(), given)


def with_settings(scenario: Scenario, settings: Sequence[Setting]) -> Scenario:
    """Return the scenario with these keys set, validated again. Raises UsageError with every problem."""
    if not settings:
        return scenario
    plain: dict[str, Any] = SCENARIO.dump_python(scenario, mode="json")
    unknown = {setting: list(_unknown(plain, setting)) for setting in settings}
    problems = [problem for found in unknown.values() for problem in found]
    settings = [
        setting for setting in settings if not unknown[setting]
    ]  # the values of the others are checked too
    keys = {setting.key for setting in settings}
    if "load.arrivals" in keys and "load.users" not in keys:
        plain["load"]["users"] = None
    elif "load.users" in keys and "load.arrivals" not in keys:
        plain["load"]["arrivals"] = None
    for setting in settings:
        _check_owner(plain, setting, settings)
        value = _value(plain, setting)
        inside = list(_unknown_inside(_at(plain, setting.path), value, setting.path, setting.given))
        problems += inside
        if not inside:
            _put(plain, setting.path, value)
    try:
        changed: Scenario = SCENARIO.validate_json(json.dumps(plain))
    except ValidationError as error:
        raise UsageError([*problems, *_invalid(error, settings)]) from None
    if problems:
        raise UsageError(problems)
    given = " ".join(setting.given for setting in settings)
    set_here = {setting.path[1]: setting.text for setting in settings if setting.path[:-1] == ("load",)}
    if found := [*contradictions(changed), *besides_arrivals(set_here, changed.load.arrivals)]:
        raise UsageError(
            [
                f"{given}: scenarios.{scenario.name}.{'.'.join(map(str, where))}: {what}"
                for where, what in found
            ]
        )
    return changed


def _unknown(plain: Mapping[str, Any], setting: Setting) -> Iterator[str]:
    at: Any = plain
    for depth, key in enumerate(setting.path):
        owner = ".".join(setting.path[:depth])
        if setting.path[:depth] in FREE:
            if not key:
                yield f"{setting.given}: the variable has no name; write {owner}.NAME=VALUE"
            return
        if not isinstance(at, dict):
            yield f"{setting.given}: {owner} has no keys of its own; set {owner} as a whole"
            return
        known = [name for name in at if depth or name not in NOT_SET]
        if key not in known:
            yield f"{setting.given}: {unknown_key(key, known, owner)}"
            return
        at = at[key]


def _unknown_inside(before: Any, value: Any, path: tuple[str, ...], given: str) -> Iterator[str]:
    """Yield the unknown keys of a mapping that is set as a whole, however deep they are."""
    if path in FREE or not isinstance(before, dict) or not isinstance(value, dict):
        return
    for key, inner in value.items():
        if key in before:
            yield from _unknown_inside(before[key], inner, (*path, key), given)
        else:
            yield f"{given}: {unknown_key(str(key), before, '.'.join(path))}"


def _check_owner(plain: dict[str, Any], setting: Setting, settings: Sequence[Setting]) -> None:
    """Raise UsageError where an earlier setting left no mapping for this one to stand in."""
    for depth in range(1, len(setting.path)):
        if not isinstance(_at(plain, setting.path[:depth]), dict):
            owner = setting.path[:depth]
            by = next(earlier for earlier in reversed(settings) if earlier.path == owner[: len(earlier.path)])
            raise UsageError(
                [f"{setting.given}: {'.'.join(owner)} is no mapping after {by.given}; remove one of the two"]
            )


def _value(plain: dict[str, Any], setting: Setting) -> Any:
    """Parse the value as YAML; a bare number for a duration stays text, so that its unit is demanded."""
    if setting.path[:-1] in FREE or isinstance(_at(plain, setting.path), str):
        return _unquoted(setting.text)  # a release such as 1.0 is not a number
    try:
        loaded = YAML(typ="safe").load(setting.text)
        value = json.loads(json.dumps(loaded, default=str))  # dates and the like are text, as in the file
    except TypeError:
        raise UsageError([f"--set {setting.key}: a key in its value is no word or number"]) from None
    except (YAMLError, ValueError) as error:
        shown = "the text" if MASK in setting.given else repr(setting.text)
        raise UsageError([f"{setting.given}: {shown} is no value: {error}"]) from None
    except RecursionError:
        raise UsageError([f"--set {setting.key}: its value is nested too deeply"]) from None
    if isinstance(value, float) and _is_duration(plain, setting.path):
        return setting.text
    return value


def _unquoted(text: str) -> str:
    """Return the text without quotes around the whole of it, as the file's own are read."""
    if text[:1] in {"'", '"'} and text[-1:] == text[:1]:
        try:
            value = YAML(typ="safe").load(text)
        except (YAMLError, ValueError):
            return text
        return value if isinstance(value, str) else text
    return text


def _is_duration(plain: dict[str, Any], path: tuple[str, ...]) -> bool:
    trial = json.loads(json.dumps(plain))
    _put(trial, path, "1s")
    try:
        SCENARIO.validate_json(json.dumps(trial))
    except ValidationError as error:
        return path not in [tuple(map(str, entry["loc"][: len(path)])) for entry in error.errors()]
    return True


def _at(plain: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        plain = plain.get(key) if isinstance(plain, dict) else None
    return plain


def _put(plain: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        plain = plain[key]
    plain[path[-1]] = value


def _invalid(error: ValidationError, settings: Sequence[Setting]) -> Iterator[str]:
    """Yield a line for each of pydantic's errors, naming the setting that caused it."""
    for entry in error.errors(include_url=False):
        where = tuple(str(part) for part in entry["loc"] if part != "function-before")
        given = next((s.given for s in reversed(settings) if where[: len(s.path)] == s.path), "")
        if entry["type"] == "value_error":
            what = str(entry["ctx"]["error"])
        elif entry["type"] == "unexpected_keyword_argument":
            what = unknown_key(where[-1], keys_at(entry["loc"][:-1]))
        else:
            what = f"{entry['msg'][0].lower()}{entry['msg'][1:]}, not {entry['input']!r}"
        yield f"{given or ' '.join(s.given for s in settings)}: {'.'.join(where)}: {what}"
