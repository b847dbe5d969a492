"""Prometheus's rule files, bare or as `PrometheusRule` objects -> rules (pure)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rushhour.alarms.formats.documents import documents, listed, mapped, read_text, spelled
from rushhour.alarms.pipeline import Intervals
from rushhour.alarms.promtool import is_duration, milliseconds
from rushhour.alarms.rules import LONGEST_INTERVAL_S, Rule
from rushhour.alarms.selectors import selectors
from rushhour.scenario.yaml_node import Node

# Prometheus refuses a rule file with any other key, and so does Kubernetes; Thanos and Mimir have some more.
_FILE: Final = ("groups", "namespace")
_GROUP: Final = (
    *("name", "interval", "rules", "labels", "limit", "query_offset"),
    *("evaluation_delay", "partial_response_strategy", "source_tenants", "align_evaluation_time_on_interval"),
)
_RULE: Final = ("alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations")
_OF_ALERTS: Final = ("for", "keep_firing_for", "annotations")
KINDS: Final = ("PrometheusRule", "PrometheusRuleList", "List")


def recognises(plain: Any) -> bool:
    """Return whether this is a rule file: groups with rules that have an `expr`."""
    return _has_groups(plain) and not any("data" in rule or "title" in rule for rule in _all_rules(plain))


def recognises_object(plain: Any) -> bool:
    """Return whether this is a `PrometheusRule`, or a list that holds some."""
    if not isinstance(plain, Mapping) or plain.get("kind") not in KINDS:
        return False
    return plain["kind"] != "List" or any(
        mapped(entry).get("kind") == "PrometheusRule" for entry in listed(plain.get("items"))
    )


def recognises_server(plain: Any) -> bool:
    """Return whether this is Prometheus's own configuration, `prometheus.yml`."""
    return isinstance(plain, Mapping) and ("scrape_configs" in plain or "rule_files" in plain)


def read_server(node: Node, path: str) -> tuple[Intervals, list[str]]:
    """Return how often it scrapes and evaluates; its own defaults are a minute."""
    found, problems = {}, []
    for key in ("evaluation_interval", "scrape_interval"):
        given = str(mapped(node.plain.get("global")).get(key) or "1m")
        seconds = milliseconds(given) / 1000 if is_duration(given) else 0.0
        if seconds < 1 or seconds % 1 or seconds > LONGEST_INTERVAL_S:
            what = f"{key} {given!r} is not in whole seconds, or longer than an hour"
            problems.append(f"{path}:{node.line(('global', key))}: {what}")
        found[key] = seconds
    top = mapped(node.plain.get("global"))
    external = tuple(sorted(_labels(node, ("global", "external_labels"), top.get("external_labels")).items()))
    alerting = mapped(node.plain.get("alerting"))
    relabelled = bool(alerting.get("alert_relabel_configs"))
    return (
        Intervals(found["evaluation_interval"], found["scrape_interval"], external, relabelled),
        problems,
    )


def _has_groups(plain: Any) -> bool:
    return isinstance(plain, Mapping) and isinstance(plain.get("groups"), list)


def _all_rules(plain: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for group in plain["groups"]:
        for rule in listed(mapped(group).get("rules")):
            if isinstance(rule, Mapping):
                yield rule


def read(node: Node, path: str) -> tuple[list[Rule], list[str]]:
    """Return the rules of one document, and its problems with their lines."""
    rules: list[Rule] = []
    problems: list[str] = []
    if "kind" not in node.plain:
        problems += _unknown(node, path, (), node.plain, _FILE)
    for groups, at in _groups(node.plain, ()):
        names: set[str] = set()
        if not isinstance(groups, list):
            problems.append(f"{path}:{node.line(at)}: a rule file has a list `groups:`")
            continue
        for number, group in enumerate(groups):
            here = (*at, number)
            if not isinstance(group, Mapping) or not isinstance(group.get("rules") or [], list):
                problems.append(f"{path}:{node.line(here)}: a group is a mapping with a list `rules:`")
                continue
            problems += _unknown(node, path, here, group, _GROUP)
            title = str(group.get("name") or "")
            if not title or title in names:
                what = f"group {title} stands there twice" if title else "a group has no name"
                problems.append(f"{path}:{node.line(here)}: {what}")
            names.add(title)
            interval = group.get("interval")
            if interval is not None and not is_duration(interval):
                problems.append(
                    f"{path}:{node.line((*here, 'interval'))}: interval {interval!r} is no duration"
                )
                interval = None
            limit = group.get("limit") or 0
            if not isinstance(limit, int):
                problems.append(f"{path}:{node.line((*here, 'limit'))}: limit {limit!r} is no whole number")
            every_s = milliseconds(str(interval)) / 1000 if interval is not None else None
            if every_s is not None and every_s > LONGEST_INTERVAL_S:
                problems.append(
                    f"{path}:{node.line((*here, 'interval'))}: interval {interval!r} is longer than an hour"
                )
            for each, rule in enumerate(group.get("rules") or ()):
                name = f"{path} {group.get('name', number)}"
                found = _rule(rule, Place(path, node, (*here, "rules", each)), name, every_s)
                if isinstance(found, Rule):
                    shared = _labels(node, (*here, "labels"), group.get("labels"))
                    rules.append(_of_group(found, group, shared))
                else:
                    problems += found
    return rules, problems


def _unknown(
    node: Node, path: str, at: Sequence[str | int], plain: Mapping[str, Any], known: Sequence[str]
) -> list[str]:
    """Return the keys that Prometheus does not know, with their lines."""
    return [
        f"{path}:{node.line((*at, key))}: unknown key {key!r}; known: {', '.join(known)}"
        for key in plain
        if key not in known
    ]


def rules_of(path: Path) -> list[Rule]:
    """Return the rules of a file that was checked before; those that cannot be read are left out."""
    return [rule for node in documents(path, read_text(path)) for rule in read(node, str(path))[0]]


def _groups(plain: Any, at: tuple[str | int, ...]) -> Iterator[tuple[Any, tuple[str | int, ...]]]:
    kind = plain.get("kind") if isinstance(plain, Mapping) else None
    if kind in ("PrometheusRuleList", "List"):
        for number, item in enumerate(listed(plain.get("items"))):
            if isinstance(item, Mapping) and item.get("kind", "PrometheusRule") == "PrometheusRule":
                yield mapped(item.get("spec")).get("groups"), (*at, "items", number, "spec", "groups")
    elif kind == "PrometheusRule":
        yield mapped(plain.get("spec")).get("groups"), (*at, "spec", "groups")
    else:
        yield plain.get("groups"), (*at, "groups")


def _labels(node: Node, at: Sequence[str | int], given: Any) -> dict[str, str]:
    """Return labels with their values as the file spells them."""
    return {label: spelled(node, (*at, label), value) for label, value in mapped(given).items()}


def _of_group(rule: Rule, group: Mapping[str, Any], shared: Mapping[str, str]) -> Rule:
    """Return a rule with its group's labels, which its own count before, and its group's delay and limit."""
    later = next((str(group[key]) for key in ("query_offset", "evaluation_delay") if group.get(key)), "")
    delay = later if not is_duration(later) or milliseconds(later) else ""
    labels = tuple(sorted({**shared, **dict(rule.labels)}.items()))
    return replace(rule, labels=labels, later=delay, limit=group.get("limit") or 0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule stands."""

    path: str
    node: Node
    at: tuple[str | int, ...]

    def line(self, *keys: str) -> str:
        return f"{self.path}:{self.node.line((*self.at, *keys))}"


def _rule(plain: Any, place: Place, group: str, every_s: float | None) -> Rule | list[str]:
    """Return the rule, or its problems."""
    line = place.line()
    if not isinstance(plain, Mapping):
        return [f"{line}: a rule must be a mapping"]
    alert, record = str(plain.get("alert") or ""), str(plain.get("record") or "")
    name, problems = alert or record, _unknown(place.node, place.path, place.at, plain, _RULE)
    if bool(alert) == bool(record):
        problems.append(f"{line}: a rule has `alert:` or `record:`")
    if not alert:
        problems += [
            f"{place.line(key)}: {name}: only an alert has {key}"
            for key in _OF_ALERTS
            if (given := plain.get(key)) and not (is_duration(given) and not milliseconds(str(given)))
        ]
    expression = str(plain.get("expr") if plain.get("expr") is not None else "")
    try:
        read_series = selectors(expression)
    except ValueError as error:
        read_series = ()
        problems.append(f"{place.line('expr')}: {name}: {error}")
    waits = {}
    for key in ("for", "keep_firing_for"):
        given = plain.get(key)
        if given is not None and not is_duration(given):
            problems.append(f"{place.line(key)}: {name}: {key} {given!r} is not a duration as 5m")
        waits[key] = "" if given is None else str(given)
    labels = plain.get("labels") or {}
    if not isinstance(labels, Mapping):
        problems.append(f"{place.line('labels')}: {name}: labels must be a mapping")
        labels = {}
    for label, value in labels.items():
        if label == "__name__" or isinstance(value, Mapping | list):
            problems.append(f"{place.line('labels', label)}: {name}: {label!r} is no label with a text")
    if problems:
        return problems
    return Rule(
        alert=alert,
        record=record,
        expression=expression,
        reads=read_series,
        wait=waits["for"],
        keep=waits["keep_firing_for"],
        labels=tuple(sorted(_labels(place.node, (*place.at, "labels"), labels).items())),
        group=group,
        every_s=every_s,
        place=line,
    )
