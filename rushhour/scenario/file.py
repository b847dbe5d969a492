"""scenarios.yaml -> frozen Scenarios; all errors at once, each with file:line."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from rushhour.errors import UsageError
from rushhour.rundir.masking import MASK, is_secret_name, mask_text
from rushhour.scenario.model import FROM_YAML, SCENARIO, Scenario, Target
from rushhour.scenario.owner import planted
from rushhour.scenario.rules import contradictions
from rushhour.scenario.target_rules import without_other_ways
from rushhour.scenario.yaml_node import Node, read_yaml

TOP_KEYS: Final = ("service", "defaults", "scenarios", "suites")
NEWEST: Final = "newest"

_TARGET: Final = TypeAdapter(Target)


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """All scenarios of a file, and the suites that name them."""

    path: Path
    scenarios: Mapping[str, Scenario]
    suites: Mapping[str, tuple[str, ...]]
    candidates: frozenset[str] = frozenset()  # scenarios of the newest release, whichever that is

    def select(
        self, names: Sequence[str], release: str | None = None, *, pinned_stay: bool = False
    ) -> list[Scenario]:
        """The scenarios of these names and suites, each once, in order; `release` replaces theirs.

        With `pinned_stay` it replaces that of candidates only: a tripwire and its control keep theirs.
        Raises UsageError with every unknown name.
        """
        problems = [self._unknown(name) for name in names if name not in {*self.scenarios, *self.suites}]
        wanted = [one for name in names for one in self.suites.get(name, (name,))]
        chosen = [self.scenarios[name] for name in dict.fromkeys(wanted) if name in self.scenarios]
        for target in {one.target.name: one.target for one in chosen}.values():
            if release is not None and release not in target.releases:
                known = ", ".join(target.releases)
                problems.append(f"--release {release}: {target.name} has no such release; known: {known}")
        if problems:
            raise UsageError(problems)
        if release is None:
            return chosen
        if pinned_stay and not any(one.name in self.candidates for one in chosen):
            raise UsageError(
                [f"--release {release}: {', '.join(names)} pins every release; none is `release: {NEWEST}`"]
            )
        return [
            one if pinned_stay and one.name not in self.candidates else replace(one, release=release)
            for one in chosen
        ]

    def _unknown(self, name: str) -> str:
        known = [*self.suites, *self.scenarios]
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{self.path}: no scenario or suite {name!r}; {hint}known: {', '.join(known)}"


def load_scenarios(path: Path) -> ScenarioFile:
    """Read and validate a whole scenario file. Raises UsageError with every problem found."""
    if problem := planted(path):
        raise UsageError([problem])
    root = read_yaml(path)
    problems = _frame(path, root)
    if any("is missing or empty" in one for one in problems):
        raise UsageError(problems)

    service = root.child("service") if "service" in root.plain else Node({}, {(): 1})
    service.plain["root"] = _root(path, service.plain)
    if "service" in root.plain:
        try:
            _TARGET.validate_json(json.dumps(service.plain), context=FROM_YAML)
        except ValidationError as error:
            problems += _told(path, service, ("service",), error)

    scenarios: dict[str, Scenario] = {}
    candidates: set[str] = set()
    for name in root.plain["scenarios"]:
        try:
            scenarios[name] = _scenario(path, root, name, service.plain)
            if _resolve(path, root, name).plain.get("release", NEWEST) == NEWEST:
                candidates.add(name)
        except UsageError as error:
            problems += error.problems
    suites, found = _suites(path, root)
    problems += found
    if problems:
        raise UsageError(_once(problems))
    return ScenarioFile(path, scenarios, suites, frozenset(candidates))


def _frame(path: Path, root: Node) -> list[str]:
    problems = [
        f"{path}:{root.line((key,))}: unknown key {key!r}; known: {', '.join(TOP_KEYS)}"
        for key in root.plain
        if key not in TOP_KEYS
    ]
    problems += [
        f"{path}:{root.line((key,))}: `{key}:` is missing or empty; it must be a mapping"
        for key in ("service", "scenarios")
        if (key == "scenarios" or key in root.plain or not _all_have_targets(root.plain))
        and (not isinstance(root.plain.get(key), dict) or not root.plain[key])
    ]
    if not isinstance(root.plain.get("defaults", {}), dict):
        problems.append(f"{path}:{root.line(('defaults',))}: `defaults:` must be a mapping")
        root.plain["defaults"] = {}
    return problems


def _all_have_targets(plain: Mapping[str, Any]) -> bool:
    """Whether the file needs no `service:` block."""
    scenarios, defaults = plain.get("scenarios"), plain.get("defaults")
    if isinstance(defaults, dict) and "target" in defaults:
        return True
    return isinstance(scenarios, dict) and all(
        isinstance(one, dict) and ("target" in one or "extends" in one) for one in scenarios.values()
    )


def _scenario(path: Path, root: Node, name: str, service: Any) -> Scenario:
    node = _resolve(path, root, name)
    if "target" in node.plain:
        service = node.plain["target"]
        if not isinstance(service, dict):
            raise UsageError([f"{path}:{node.line(('target',))}: scenarios.{name}.target: must be a mapping"])
        service = {"name": name, **service, "root": _root(path, service)}
    plain = {**node.plain, "name": name, "target": service}
    releases = service.get("releases", ["current"])
    if plain.get("release", NEWEST) == NEWEST and isinstance(releases, list):
        plain["release"] = [NEWEST, *releases][-1]
    try:
        scenario: Scenario = SCENARIO.validate_json(json.dumps(plain), context=FROM_YAML)
    except ValidationError as error:
        raise UsageError(
            [*_told(path, node, ("scenarios", name), error, own="target" in node.plain)]
        ) from None
    if scenario.target.url:
        scenario = replace(scenario, agent=False)
    if found := contradictions(scenario):
        raise UsageError(
            [
                f"{path}:{node.line(where)}: scenarios.{name}.{'.'.join(map(str, where))}: {what}"
                for where, what in found
            ]
        )
    return scenario


def _root(path: Path, service: Mapping[str, Any]) -> Any:
    """A relative one starts at the file's folder, wherever rushhour is called."""
    given = service.get("root", ".")
    return str((path.resolve().parent / given).resolve()) if isinstance(given, str) else given


def _once(problems: Sequence[str]) -> list[str]:
    """Without repeats: a mistake in what several scenarios inherit is told once, by its line and message."""
    seen: dict[tuple[str, str], str] = {}
    for problem in problems:
        place, _, rest = problem.partition(": ")
        seen.setdefault((place, rest.rpartition(": ")[2]), problem)
    return list(seen.values())


def _resolve(path: Path, root: Node, name: str) -> Node:
    """A scenario laid over what it extends, and that over the defaults."""
    known = root.plain["scenarios"]
    node = Node({}, {(): root.line(("scenarios", name))})
    chain: list[str] = []
    current: Any = name
    while current is not None:
        blame = ("scenarios", chain[-1], "extends") if chain else ("scenarios", name)
        where = f"{path}:{root.line(blame)}: scenarios.{'.'.join(blame[1:])}"
        if not isinstance(current, str):
            raise UsageError([f"{where}: {current!r} is not the name of a scenario"])
        if current in chain:
            raise UsageError([f"{where}: extends itself: {' -> '.join([*chain, current])}"])
        if current not in known:
            raise UsageError([f"{where}: no scenario {current!r}; known: {', '.join(known)}"])
        if not isinstance(known[current], dict):
            raise UsageError([f"{where}: {current} must be a mapping"])
        chain.append(current)
        part = root.child("scenarios").child(current)
        node = _over(node, part)
        current = part.plain.get("extends")
    node.plain.pop("extends", None)
    return _over(node, root.child("defaults")) if "defaults" in root.plain else node


def _over(above: Node, base: Node) -> Node:
    own, inherited = (one.plain.get("target") for one in (above, base))
    if isinstance(own, dict) and isinstance(inherited, dict):
        base = Node({**base.plain, "target": without_other_ways(inherited, own)}, base.lines)
    return above.over(base)


def _suites(path: Path, root: Node) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    suites: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    plain = root.plain.get("suites") or {}
    if not isinstance(plain, dict):
        return {}, [f"{path}:{root.line(('suites',))}: `suites:` must be a mapping of lists"]
    known = root.plain["scenarios"]
    for name, members in plain.items():
        where = f"{path}:{root.line(('suites', name))}: suite {name}"
        if not isinstance(members, list) or not members:
            problems.append(f"{where} must be a list of scenarios")
            continue
        if name in known:
            problems.append(f"{where} has the name of a scenario")
        for index, member in enumerate(members):
            place = f"{path}:{root.line(('suites', name, index))}: suite {name}"
            if isinstance(member, (dict, list)):
                kind = "mapping" if isinstance(member, dict) else "list"
                problems.append(f"{place}: its member is a {kind}; write the name of a scenario")
            elif member not in known:
                problems.append(f"{place}: no scenario {member!r}; known: {', '.join(known)}")
        suites[name] = tuple(str(member) for member in members)
    return suites, problems


def _told(
    path: Path, node: Node, prefix: tuple[str, ...], error: ValidationError, *, own: bool = False
) -> Iterator[str]:
    """Each of pydantic's errors as one line: file:line: where: what, and what was given.

    `own`: the scenario has a target of its own; that of the file is told with the `service:` block itself.
    """
    for one in error.errors(include_url=False):
        where = tuple(part for part in one["loc"] if part != "function-before")
        dotted = ".".join(str(part) for part in (*prefix, *where))
        if where[:1] == ("target",) and not own:
            continue
        kind = one["type"]
        if kind == "unexpected_keyword_argument":
            message = f"unknown key {where[-1]!r}"
        elif kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
            message = "is missing"
        elif kind == "value_error":
            message = str(one["ctx"]["error"])
        else:
            message = f"{one['msg'][0].lower()}{one['msg'][1:]}, not {_shown(where, one['input'])}"
        yield f"{path}:{node.line(where)}: {dotted}: {message}"


def _shown(where: Sequence[str | int], given: Any) -> str:
    """What was given, without its secrets: an environment may stand there whole, or a part of it."""
    return MASK if any(is_secret_name(str(part)) for part in where) else repr(_masked(given))


def _masked(given: Any) -> Any:
    if isinstance(given, dict):
        return {name: MASK if is_secret_name(str(name)) else _masked(part) for name, part in given.items()}
    if isinstance(given, list):
        return [_masked(part) for part in given]
    return mask_text(given) if isinstance(given, str) else given
