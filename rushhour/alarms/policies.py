"""Files of policies -> policies; all errors at once, each with file:line.

A new alarm system is a module with a `Policy`, and an entry in SYSTEMS; a format of another tool is a module
in `formats`, and an entry in `formats.files`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from rushhour.alarms.burn_rate import BurnRateAlert
from rushhour.alarms.cloudwatch import CloudWatchAlarm, wrong_period
from rushhour.alarms.events import Policy
from rushhour.alarms.formats.cloudwatch_alarms import metric_alarms
from rushhour.alarms.formats.composite_alarms import composite_alarms
from rushhour.alarms.formats.files import find
from rushhour.alarms.formats.names import Names
from rushhour.alarms.formats.routed_alerts import routed_alerts
from rushhour.alarms.prometheus import PrometheusPolicy
from rushhour.alarms.promtool import PromtoolError, check_rules
from rushhour.alarms.routing import DEFAULT, GRAFANA
from rushhour.alarms.rules import LONGEST_INTERVAL_S, LONGEST_WINDOW_S
from rushhour.errors import UsageError
from rushhour.scenario.durations import FROM_YAML
from rushhour.scenario.yaml_node import Node, read_yaml

SYSTEMS: Final[dict[str, TypeAdapter[Any]]] = {
    "cloudwatch": TypeAdapter(CloudWatchAlarm),
    "burn-rate": TypeAdapter(BurnRateAlert),
    "prometheus": TypeAdapter(PrometheusPolicy),
}
_TOP: Final = ("system", "defaults", "alarms")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Policies, and of each file of another system's format what it was taken for."""

    policies: tuple[Policy, ...]
    notes: tuple[str, ...]
    names: Names = field(default_factory=Names)


def load_policies(places: Sequence[Path]) -> list[Policy]:
    """Return the policies of these files and of the files in these folders. Raises UsageError."""
    return list(load(places).policies)


def load(places: Sequence[Path]) -> Loaded:
    """Load policies as `load_policies` does, with what each file was taken for."""
    found = find(places)
    policies: list[Policy] = []
    problems = list(found.problems)
    for file in found.own:
        try:
            policies += _read(file)
        except UsageError as error:
            problems += error.problems
    metric, wrong = metric_alarms(found.raws, found.names)
    composite, wrong_too = composite_alarms(found.raws, [*policies, *metric])
    policies += [*metric, *composite]
    if len(found.routes) < 2:
        routes = found.routes[0] if found.routes else DEFAULT
        policies += routed_alerts(found.rules, routes, found.names, found.intervals)
    problems += [*wrong, *wrong_too]
    if len(found.grafana_routes) < 2:
        routes = found.grafana_routes[0] if found.grafana_routes else GRAFANA
        policies += [*routed_alerts(found.grafana, routes, found.names, system="grafana"), *found.unknown]
    policies, twice = _distinct(policies, {raw.name: raw.place for raw in found.raws})
    problems += twice
    if not policies and not problems:
        problems.append(f"{', '.join(map(str, places))}: no alarm in there")
    if problems:
        raise UsageError(list(dict.fromkeys(problems)))
    return Loaded(tuple(policies), tuple(found.notes), found.names)


def _distinct(policies: list[Policy], places: Mapping[str, str]) -> tuple[list[Policy], list[str]]:
    """Give alarms of one name in different systems the system's name too; twice in a system is a problem."""
    systems: dict[str, list[str]] = {}
    for policy in policies:
        systems.setdefault(policy.name, []).append(policy.system)
    problems = [
        f"policy {name} stands there more than once" + (f", at {places[name]} too" if name in places else "")
        for name, of in sorted(systems.items())
        if len(set(of)) < len(of)
    ]
    named = [
        replace(policy, name=f"{policy.name} ({policy.system})") if len(systems[policy.name]) > 1 else policy  # type: ignore[type-var]  # each policy is a dataclass
        for policy in policies
    ]
    return named, problems


def _read(path: Path) -> list[Policy]:
    root = read_yaml(path)
    problems = [
        f"{path}:{root.line((key,))}: unknown key {key!r}; known: {', '.join(_TOP)}"
        for key in root.plain
        if key not in _TOP
    ]
    system = root.plain.get("system")
    if system not in tuple(SYSTEMS):  # it may be a list, which no dictionary can be asked for
        problems.append(
            f"{path}:{root.line(('system',))}: `system:` {system!r} is none of {', '.join(SYSTEMS)}"
        )
    for key, needed in (("alarms", True), ("defaults", False)):
        part = root.plain.get(key, {} if not needed else None)
        if not isinstance(part, dict) or (needed and not part):
            problems.append(
                f"{path}:{root.line((key,))}: `{key}:` must be a mapping{' and not empty' if needed else ''}"
            )
    if problems:
        raise UsageError(problems)
    base = root.child("defaults") if "defaults" in root.plain else Node({}, {})
    alarms, found = root.child("alarms"), []
    for name in alarms.plain:
        node = alarms.child(name)
        if not isinstance(node.plain, dict):
            problems.append(f"{path}:{node.line(())}: alarm {name} must be a mapping")
            continue
        merged = node.over(base)
        try:
            text = json.dumps({**merged.plain, "name": name})
            policy = SYSTEMS[system].validate_json(text, context=FROM_YAML)
        except ValidationError as error:
            problems += [
                f"{path}:{merged.line(item['loc'])}: {name}.{'.'.join(map(str, item['loc']))}: {_words(item)}"
                for item in error.errors()
            ]
            continue
        problems += [f"{path}:{node.line(())}: {name}: {what}" for what in contradictions(policy)]
        if isinstance(policy, PrometheusPolicy):
            policy = policy.below(path.parent)
            problems += _wrong_rules(policy, f"{path}:{merged.line(('rules',))}: {name}.rules")
        found.append(policy)
    if problems:
        raise UsageError(problems)
    return found


def contradictions(policy: Policy) -> list[str]:
    """Return the contradictions between its fields."""
    match policy:
        case CloudWatchAlarm(needed=needed, evaluation_periods=periods) if needed > periods:
            return [f"datapoints_to_alarm {needed} is more than evaluation_periods {periods}"]
        case CloudWatchAlarm(period=period) if problem := wrong_period(period):
            return [f"period {problem}"]
        case CloudWatchAlarm() as alarm if wrong := alarm.wrong():
            return wrong
        case PrometheusPolicy() as rules if why := [*_extreme(rules), *_uneven(rules)]:
            return why
        case BurnRateAlert(long=long, short=short) if short >= long:
            return [f"short window {short:g} s is not shorter than the long one, {long:g} s"]
    return []


def _extreme(policy: PrometheusPolicy) -> list[str]:
    """Return which of its times are too short or too long to be replayed by the second."""
    found = [
        f"{key} {seconds:g} s is less than a second"
        for key, seconds in (
            ("group_interval", policy.group_interval),
            ("repeat_interval", policy.repeat_interval),
        )
        if seconds < 1
    ]
    bounds = (
        ("evaluation_interval", policy.evaluation_interval, LONGEST_INTERVAL_S),
        ("scrape_interval", policy.scrape_interval, LONGEST_INTERVAL_S),
        ("healthy_before", policy.healthy_before, LONGEST_WINDOW_S),
    )
    return found + [
        f"{key} {seconds:g} s is more than {most_s:g} s"
        for key, seconds, most_s in bounds
        if seconds > most_s
    ]


def _uneven(policy: PrometheusPolicy) -> list[str]:
    if not (policy.evaluation_interval % 1 or policy.scrape_interval % 1):
        return []
    intervals = f"evaluation_interval {policy.evaluation_interval:g} s and scrape_interval "
    return [f"{intervals}{policy.scrape_interval:g} s: timelines are by the second, so are these"]


def _wrong_rules(policy: PrometheusPolicy, place: str) -> list[str]:
    """Return what is wrong with its rule files: each must be there, and pass promtool where it is here."""
    problems = []
    for name in policy.rules:
        file = Path(name)
        if not file.is_file():
            problems.append(f"{place}: {file}: no such file; places count from the policy file")
            continue
        try:
            groups = read_yaml(file).plain.get("groups")
            if not isinstance(groups, list):
                problems.append(f"{file}:1: a rule file has a list `groups:`")
            problems += check_rules(file)
        except UsageError as error:
            problems += error.problems
        except PromtoolError as error:
            problems.append(f"{file}: {error}")
    return list(dict.fromkeys(problems))


def _words(error: Any) -> str:
    text = str(error["msg"]).removeprefix("Value error, ")
    return "unknown key" if error["type"] in ("extra_forbidden", "unexpected_keyword_argument") else text
