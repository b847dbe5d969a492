"""Which kind of alarms a file holds, by its content, and what the files of an audit hold together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rushhour.alarms.formats import (
    alertmanager_yml,
    cloudformation,
    describe_alarms,
    grafana,
    prometheus_rules,
    terraform,
)
from rushhour.alarms.formats.documents import documents, read_text
from rushhour.alarms.formats.names import Names, merged, read_names
from rushhour.alarms.formats.other_tools import other_tool
from rushhour.alarms.formats.raw_alarms import RawAlarm
from rushhour.alarms.formats.terraform_syntax import is_terraform
from rushhour.alarms.pipeline import Intervals
from rushhour.alarms.routing import Configuration
from rushhour.alarms.rules import Rule
from rushhour.alarms.time_intervals import TimeInterval
from rushhour.alarms.unreplayed import Unreplayed
from rushhour.errors import UsageError
from rushhour.scenario.yaml_node import Node

SUFFIXES: Final = (".yaml", ".yml", ".json", ".tf", ".tfvars", ".template")
NOWHERE: Final = "; it names no Alertmanager, so it sends its alerts nowhere: replayed as if it did"
LOOKED_FOR: Final = (
    "`system:` and `alarms:` (rushhour's own), `names:` (what stands for what), `MetricAlarms` or "
    "`CompositeAlarms` (aws cloudwatch describe-alarms), `Resources` (CloudFormation), Terraform's blocks or "
    "`terraform show -json`, `groups:` with `rules:` (Prometheus), a PrometheusRule, `route:` and "
    "`receivers:` (alertmanager.yml), `scrape_configs:` (prometheus.yml), `groups:` whose rules have `data:` "
    "or `policies:` (Grafana)"
)


@dataclass(slots=True)
class Found:
    """What the files hold. `notes` say of each file what it was taken for."""

    own: list[Path] = field(default_factory=list)
    raws: list[RawAlarm] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    routes: list[Configuration] = field(default_factory=list)
    grafana: list[Rule] = field(default_factory=list)
    grafana_files: list[tuple[Node, str]] = field(default_factory=list)  # with policies or mute times
    grafana_routes: list[Configuration] = field(default_factory=list)
    unknown: list[Unreplayed] = field(default_factory=list)
    intervals: Intervals | None = None
    names: Names = field(default_factory=Names)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find(places: Sequence[Path]) -> Found:
    """Read these files, and those in these folders that may hold alarms."""
    found = Found()
    terraforms: dict[Path, dict[str, str]] = {}
    names: list[Names] = []
    for file in _files(places, found.problems):
        try:
            text = read_text(file)
            if is_terraform(str(file), text):
                terraforms.setdefault(file.parent, {})[str(file)] = text
                continue
            nodes = documents(file, text)
        except UsageError as error:
            looked = "" if file.suffix in SUFFIXES else f"; looked for {LOOKED_FOR}"
            found.problems += [f"{problem}{looked}" for problem in error.problems]
            continue
        if not nodes:
            found.problems.append(f"{file}:1: is empty; looked for {LOOKED_FOR}")
        others = [node for node in nodes if not _take(file, node, found, names)]
        if len(others) < len(nodes) and all(_is_kubernetes(node.plain) for node in others):
            found.notes += [f"{file}:{node.line(())}: a {node.plain['kind']}, left out" for node in others]
            continue
        found.problems += [
            f"{file}:{node.line(())}: holds {_what(node.plain)}; looked for {LOOKED_FOR}" for node in others
        ]
    given = frozenset(str(place) for place in places)
    for folder, texts in terraforms.items():
        _add(found, terraform.read_files(texts, given), str(folder), "Terraform")
    found.own = list(dict.fromkeys(found.own))
    _join_grafana(found)
    found.names = merged(names)
    for routes in (found.routes, found.grafana_routes):
        if len(routes) > 1:
            found.problems.append(
                f"{' and '.join(route.place for route in routes)}: an alert takes the routes of one file; "
                "audit them one after the other"
            )
    return found


def _files(places: Sequence[Path], problems: list[str]) -> list[Path]:
    files: list[Path] = []
    for place in places:
        if not place.is_dir():
            files.append(place)
            continue
        named = [file for file in sorted(place.iterdir()) if file.suffix in SUFFIXES]
        inside = [file for file in named if file.is_file()]
        problems += [
            f"{file}: no regular file, where one with alarms should be"
            for file in named
            if file not in inside
        ]
        if not named:
            problems.append(
                f"{place}: holds no alarms; looked for {', '.join(f'*{item}' for item in SUFFIXES)}"
            )
        files += inside
    return list(dict.fromkeys(files))


def _take(file: Path, node: Node, found: Found, names: list[Names]) -> bool:
    """Take a document of a file by what it holds; returns whether that is anything known."""
    plain, path = node.plain, str(file)
    if isinstance(plain, Mapping) and ("system" in plain or "alarms" in plain):
        found.own.append(file)
    elif isinstance(plain, Mapping) and "names" in plain:
        read, problems = read_names(node, path)
        names.append(read)
        found.problems += problems
        found.notes.append(f"{path}: names of series ({len(read.names)})")
    elif describe_alarms.recognises(plain):
        _add(found, describe_alarms.read(node, path), path, "aws cloudwatch describe-alarms")
    elif terraform.recognises_json(plain):
        _add(found, terraform.read_json(node, path), path, "terraform show -json")
    elif cloudformation.recognises(plain):
        _add(found, cloudformation.read(node, path), path, "a CloudFormation template")
    else:
        return _take_rules(path, node, found)
    return True


def _take_rules(path: str, node: Node, found: Found) -> bool:
    """Take a document of Prometheus, Alertmanager or Grafana; return whether it is such a document."""
    plain = node.plain
    if prometheus_rules.recognises_object(plain) or prometheus_rules.recognises(plain):
        rules, problems = prometheus_rules.read(node, path)
        found.rules += rules
        found.problems += problems
        kind = plain.get("kind", "a Prometheus rule file")
        alerting = sum(bool(rule.alert) for rule in rules)
        found.notes.append(f"{path}: {kind} (alerting rules: {alerting}, recording: {len(rules) - alerting})")
    elif (
        grafana.recognises(plain)
        or grafana.recognises_other(plain)
        or alertmanager_yml.recognises_grafana(plain)
    ):
        _take_grafana(path, node, found)
    elif alertmanager_yml.recognises(plain):
        configuration, problems = alertmanager_yml.read(node, path)
        found.problems += problems
        if configuration is not None:
            found.routes.append(configuration)
            many = len(list(configuration.root.all()))
            found.notes.append(
                f"{path}: alertmanager.yml (routes: {many}, inhibitions: {len(configuration.inhibitions)})"
            )
    elif prometheus_rules.recognises_server(plain):
        found.intervals, problems = prometheus_rules.read_server(node, path)
        found.problems += problems
        alerting = plain.get("alerting")
        nowhere = "" if isinstance(alerting, Mapping) and alerting.get("alertmanagers") else NOWHERE
        found.notes.append(
            f"{path}: prometheus.yml (evaluates every {found.intervals.evaluation_s:g} s){nowhere}"
        )
    else:
        return False
    return True


def _take_grafana(path: str, node: Node, found: Found) -> None:
    """Take what Grafana provisions; a file may hold all kinds of it."""
    plain = node.plain
    if grafana.recognises(plain):
        rules, unknown, problems = grafana.read(node, path)
        found.grafana += rules
        found.unknown += unknown
        found.problems += problems
        left_out = f"; left out: {many} that record a series" if (many := grafana.recording(plain)) else ""
        found.notes.append(f"{path}: Grafana's alert rules ({len(rules) + len(unknown)}){left_out}")
    if isinstance(plain, Mapping) and plain.keys() & {"policies", "muteTimes"}:
        found.grafana_files.append((node, path))
    if kinds := ", ".join(grafana.left_out(plain)):
        found.notes.append(f"{path}: Grafana's {kinds}, left out: every contact point is taken to notify")


def _join_grafana(found: Found) -> None:
    """Read Grafana's policies, which name mute times of any of its files."""
    intervals: dict[str, tuple[TimeInterval, ...]] = {}
    for node, path in found.grafana_files:
        found.problems += alertmanager_yml.read_mute_times(node, path, intervals)
        if "muteTimes" in node.plain:
            found.notes.append(f"{path}: Grafana's mute times")
    for node, path in found.grafana_files:
        if not alertmanager_yml.recognises_grafana(node.plain):
            continue
        configuration, problems = alertmanager_yml.read_grafana(node, path, intervals)
        found.problems += problems
        if configuration is not None:
            found.grafana_routes.append(configuration)
            found.notes.append(f"{path}: Grafana's notification policies")


def _add(found: Found, read: tuple[list[RawAlarm], list[str], list[str]], path: str, kind: str) -> None:
    raws, problems, notes = read
    found.raws += raws
    found.problems += problems
    composite = sum(raw.composite for raw in raws)
    found.notes.append(f"{path}: {kind} (metric alarms: {len(raws) - composite}, composite: {composite})")
    found.notes += notes


def _is_kubernetes(plain: Any) -> bool:
    return isinstance(plain, Mapping) and "apiVersion" in plain and "kind" in plain


def _what(plain: Any) -> str:
    if tool := other_tool(plain):
        return tool if ": " in tool else f"{tool}, which is not read"
    if isinstance(plain, Mapping):
        return f"the keys {', '.join(map(str, list(plain)[:6]))}" if plain else "an empty mapping"
    return f"a {type(plain).__name__}"
