"""Reads scenarios.yaml into Scenarios, and reports all errors at once, each with file and line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from rushhour.errors import UsageError
from rushhour.rundir.masking import MASK, is_secret_name, mask_text
from rushhour.scenario.durations import FROM_YAML
from rushhour.scenario.keys import keys_at, unknown_key
from rushhour.scenario.model import SCENARIO, Scenario, Target
from rushhour.scenario.near import did_you_mean
from rushhour.scenario.owner import planted
from rushhour.scenario.rules import besides_arrivals, contradictions, without_other_customers
from rushhour.scenario.target_rules import without_other_ways
from rushhour.scenario.yaml_node import Node, read_yaml

MOST_SCENARIOS: Final = 1000
MOST_EXTENDED: Final = 20
LONGEST_NAME: Final = 200  # bytes; a file's name has 255 at most, and a run's begins with its time
TOP_KEYS: Final = ("service", "defaults", "scenarios", "suites")
NEWEST: Final = "newest"

_TARGET: Final = TypeAdapter(Target)


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """The scenarios and suites of a file."""

    path: Path
    scenarios: Mapping[str, Scenario]
    suites: Mapping[str, tuple[str, ...]]
    candidates: frozenset[str] = frozenset()  # scenarios of the newest release, whichever that is

    def select(
        self, names: Sequence[str], release: str | None = None, *, pinned_stay: bool = False
    ) -> list[Scenario]:
        """Return the scenarios of these names and suites, each once, in order, with `release` if given.

        With `pinned_stay`, `release` replaces that of candidates only, and scenarios that pin a release keep
        it. Raises UsageError with every unknown name.
        """
        problems = [self._unknown(name) for name in names if name not in {*self.scenarios, *self.suites}]
        wanted = [scenario_name for name in names for scenario_name in self.suites.get(name, (name,))]
        chosen = [self.scenarios[name] for name in dict.fromkeys(wanted) if name in self.scenarios]
        for target in {scenario.target.name: scenario.target for scenario in chosen}.values():
            if release is not None and release not in target.releases:
                known = ", ".join(target.releases)
                problems.append(f"--release {release}: {target.name} has no such release; known: {known}")
        if problems:
            raise UsageError(problems)
        if release is None:
            return chosen
        if pinned_stay and not any(scenario.name in self.candidates for scenario in chosen):
            raise UsageError(
                [f"--release {release}: {', '.join(names)} pins every release; none is `release: {NEWEST}`"]
            )
        return [
            scenario
            if pinned_stay and scenario.name not in self.candidates
            else replace(scenario, release=release)
            for scenario in chosen
        ]

    def _unknown(self, name: str) -> str:
        known = [*self.suites, *self.scenarios]
        hint = did_you_mean(name, known)
        return f"{self.path}: no scenario or suite {name!r}; {hint}known: {', '.join(known)}"


def load_scenarios(path: Path) -> ScenarioFile:
    """Read and validate a whole scenario file. Raises UsageError with every problem found."""
    if problem := planted(path):
        raise UsageError([problem])
    root = read_yaml(path)
    problems = _frame(path, root)
    if any("is missing or empty" in problem for problem in problems):
        raise UsageError(problems)

    service = root.child("service") if "service" in root.plain else Node({}, {(): 1})
    service.plain["root"] = _root(path, service.plain)
    if "service" in root.plain:
        try:
            _TARGET.validate_json(json.dumps(service.plain), context=FROM_YAML)
        except ValidationError as error:
            problems += _error_lines(path, service, ("service",), error)

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
        f"{path}:{root.line((key,))}: {unknown_key(key, TOP_KEYS)}"
        for key in root.plain
        if key not in TOP_KEYS
    ]
    problems += [
        f"{path}:{root.line((key,))}: `{key}:` is missing or empty; it must be a mapping"
        for key in ("service", "scenarios")
        if (key == "scenarios" or key in root.plain or not _all_have_targets(root.plain))
        and (not isinstance(root.plain.get(key), dict) or not root.plain[key])
    ]
    for key in ("scenarios", "suites"):
        names = root.plain.get(key)
        problems += [
            f"{path}:{root.line((key, name))}: {name[:40]!r} cannot be a name, which run directories have in "
            f"theirs: 1 to {LONGEST_NAME} bytes, no slash, no control character, no dash or dot in front"
            for name in (names if isinstance(names, dict) else ())
            if not _is_name(name)
        ]
    scenarios = root.plain.get("scenarios")
    if isinstance(scenarios, dict) and len(scenarios) > MOST_SCENARIOS:
        where = f"{path}:{root.line(('scenarios',))}"
        raise UsageError([f"{where}: {len(scenarios):,} scenarios; {MOST_SCENARIOS:,} are the most"])
    if not isinstance(root.plain.get("defaults", {}), dict):
        problems.append(f"{path}:{root.line(('defaults',))}: `defaults:` must be a mapping")
        root.plain["defaults"] = {}
    return problems


def _is_name(text: str) -> bool:
    """Return whether a scenario may be called so: it is a part of its run directories' names."""
    if not text.isprintable() or "/" in text or text.startswith(("-", ".")):
        return False
    return 0 < len(text.encode("utf-8", "surrogatepass")) <= LONGEST_NAME


def _all_have_targets(plain: Mapping[str, Any]) -> bool:
    """Return whether every scenario has a target of its own, so that no `service:` block is needed."""
    scenarios, defaults = plain.get("scenarios"), plain.get("defaults")
    if isinstance(defaults, dict) and "target" in defaults:
        return True
    return isinstance(scenarios, dict) and all(
        isinstance(scenario, dict) and ("target" in scenario or "extends" in scenario)
        for scenario in scenarios.values()
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
            [*_error_lines(path, node, ("scenarios", name), error, own="target" in node.plain)]
        ) from None
    if scenario.target.url:
        scenario = replace(scenario, agent=False)
    if found := [*contradictions(scenario), *besides_arrivals(node.plain["load"], scenario.load.arrivals)]:
        raise UsageError([f"{_place(path, root, node, name, where)}: {what}" for where, what in found])
    return scenario


def _place(path: Path, root: Node, node: Node, name: str, where: Sequence[str | int]) -> str:
    """Return the line and the key of a scenario's problem; in `service:` where the scenario has no target."""
    if where[0] == "target" and "target" not in node.plain and "service" in root.plain:
        inside = ("service", *where[1:])
        return f"{path}:{root.line(inside)}: {'.'.join(map(str, inside))}"
    return f"{path}:{node.line(where)}: scenarios.{name}.{'.'.join(map(str, where))}"


def _root(path: Path, service: Mapping[str, Any]) -> Any:
    """Resolve a relative root against the folder of the scenario file, not the working directory."""
    given = service.get("root", ".")
    return str((path.resolve().parent / given).resolve()) if isinstance(given, str) else given


def _once(problems: Sequence[str]) -> list[str]:
    """Drop repeated problems: a mistake that several scenarios inherit is reported once."""
    seen: dict[tuple[str, str, str], str] = {}
    for problem in problems:
        place, _, rest = problem.partition(": ")
        where, _, what = rest.partition(": ")
        key = ".".join(where.split(".")[2:]) if where.startswith("scenarios.") else where
        seen.setdefault((place, key, what), problem)
    return list(seen.values())


def _resolve(path: Path, root: Node, name: str) -> Node:
    """Merge a scenario over the scenarios that it extends, and these over the defaults."""
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
        if len(chain) == MOST_EXTENDED:
            raise UsageError([f"{where}: extends more than {MOST_EXTENDED} scenarios, one after the other"])
        chain.append(current)
        part = root.child("scenarios").child(current)
        node = _over(node, part)
        current = part.plain.get("extends")
    node.plain.pop("extends", None)
    return _over(node, root.child("defaults")) if "defaults" in root.plain else node


def _over(above: Node, base: Node) -> Node:
    own, inherited = (node.plain.get("target") for node in (above, base))
    if isinstance(own, dict) and isinstance(inherited, dict):
        base = Node({**base.plain, "target": without_other_ways(inherited, own)}, base.lines)
    own, inherited = (node.plain.get("load") for node in (above, base))
    if isinstance(own, dict) and isinstance(inherited, dict):
        base = Node({**base.plain, "load": without_other_customers(inherited, own)}, base.lines)
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


def _error_lines(
    path: Path, node: Node, prefix: tuple[str, ...], error: ValidationError, *, own: bool = False
) -> Iterator[str]:
    """Yield a line for each of pydantic's errors: file:line: key: what is wrong, and the value.

    `own`: the scenario has a target of its own. Otherwise errors of the target are left out, because they
    are reported for the `service:` block.
    """
    within = ("target",) if prefix == ("service",) else ()
    for entry in error.errors(include_url=False):
        where = tuple(part for part in entry["loc"] if part != "function-before")
        dotted = ".".join(str(part) for part in (*prefix, *where))
        if where[:1] == ("target",) and not own:
            continue
        kind = entry["type"]
        if kind == "unexpected_keyword_argument":
            known = keys_at((*within, *where[:-1]))
            if len(where) == 1 and not within:
                known = ["extends", *(key for key in known if key != "name")]  # a scenario's own
            message = unknown_key(str(where[-1]), known)
        elif kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
            message = "is missing"
        elif kind == "value_error":
            message = str(entry["ctx"]["error"])
        else:
            message = f"{entry['msg'][0].lower()}{entry['msg'][1:]}, not {_shown(where, entry['input'])}"
        yield f"{path}:{node.line(where)}: {dotted}: {message}"


def _shown(where: Sequence[str | int], given: Any) -> str:
    """Return what was given, without its secrets: an environment may stand there whole, or a part of it."""
    return MASK if any(is_secret_name(str(part)) for part in where) else repr(_masked(given))


def _masked(given: Any) -> Any:
    if isinstance(given, dict):
        return {name: MASK if is_secret_name(str(name)) else _masked(part) for name, part in given.items()}
    if isinstance(given, list):
        return [_masked(part) for part in given]
    return mask_text(given) if isinstance(given, str) else given
