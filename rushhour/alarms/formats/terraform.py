"""Terraform's alarms: its files, and `terraform show -json` of a plan or a state -> raw alarms.

In files, variables with a default, `terraform.tfvars`, locals and plain arithmetic are followed. What only a
plan knows (modules, `for_each`, data sources, functions) makes an alarm unknown: `terraform show -json` has
it all.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from rushhour.alarms.formats.documents import listed, mapped
from rushhour.alarms.formats.raw_alarms import RawAlarm, Unresolved
from rushhour.alarms.formats.terraform_syntax import (
    Content,
    is_comment,
    is_loaded_alone,
    is_variables,
    labelled,
    line_of,
    named,
    overrides,
    parsed,
)
from rushhour.alarms.formats.terraform_values import COMPOSITE, HINT, METRIC, Module
from rushhour.scenario.yaml_node import Node

_ACTIONS: Final = ("alarm_actions", "ok_actions", "insufficient_data_actions")
_COMPUTED: Final = ("evaluate_low_sample_count_percentiles",)  # AWS fills it in where it is not set
_OTHER_ALARM: Final = re.compile(
    r"_(monitor|detector|alert|alarm|rule_group|rule_group_namespace|scheduled_query_rules_alert|"
    r"alert_(condition|policy|rule)|\w*(alert_condition|alert_rule|alert_policy|metric_alert|log_alert)\w*)$"
)
_TOOLS: Final = {
    "datadog": "Datadog", "newrelic": "New Relic", "google": "Google Cloud", "azurerm": "Azure",
    "grafana": "Grafana", "signalfx": "Splunk", "dynatrace": "Dynatrace", "aws": "another service of AWS",
}  # fmt: skip
_TEXTS: Final = ("alarm_description", "alarm_rule")  # an unresolved part leaves the rest readable
_NAMES: Final = {
    "alarm_name": "AlarmName", "alarm_description": "AlarmDescription", "actions_enabled": "ActionsEnabled",
    "alarm_actions": "AlarmActions", "ok_actions": "OKActions", "namespace": "Namespace", "period": "Period",
    "insufficient_data_actions": "InsufficientDataActions", "metric_name": "MetricName",
    "statistic": "Statistic", "extended_statistic": "ExtendedStatistic", "dimensions": "Dimensions",
    "evaluation_periods": "EvaluationPeriods", "datapoints_to_alarm": "DatapointsToAlarm",
    "unit": "Unit", "threshold": "Threshold",
    "comparison_operator": "ComparisonOperator", "alarm_rule": "AlarmRule",
    "treat_missing_data": "TreatMissingData", "threshold_metric_id": "ThresholdMetricId",
    "evaluate_low_sample_count_percentiles": "EvaluateLowSampleCountPercentile",
    "evaluation_criteria": "EvaluationCriteria", "evaluation_interval": "EvaluationInterval",
}  # fmt: skip


def recognises_json(plain: Any) -> bool:
    """Return whether this is what `terraform show -json` prints."""
    return isinstance(plain, Mapping) and (
        "planned_values" in plain
        or ("values" in plain and ("terraform_version" in plain or "format_version" in plain))
    )


def read_json(node: Node, path: str) -> tuple[list[RawAlarm], list[str], list[str]]:
    """Read the alarms of a plan or a state, and of its modules: alarms, problems and notes."""
    key = "planned_values" if "planned_values" in node.plain else "values"
    found, notes = [], []
    open_values = _known_later(node.plain)
    for resource, place in _resources(node.plain.get(key), (key,)):
        if resource.get("mode", "managed") != "managed":
            continue
        line, address = f"{path}:{node.line(place)}", str(resource.get("address"))
        if resource.get("type") not in (METRIC, COMPOSITE):
            notes += _left_out(line, str(resource.get("type")), str(resource.get("name")))
            continue
        values = _with_later(mapped(resource.get("values")), open_values.get(address), address)
        found.append(RawAlarm(_renamed(values, resource["type"] == COMPOSITE), line))
    return found, [], notes


def _known_later(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return by address which values of a plan are known only after it was applied."""
    return {
        str(change.get("address")): mapped(change.get("change")).get("after_unknown")
        for change in map(mapped, listed(plain.get("resource_changes")))
    }


def _with_later(values: Mapping[str, Any], later: Any, address: str) -> dict[str, Any]:
    """Add the values that a plan leaves out, since they are known only after it was applied."""
    found = dict(values)
    for key, given in mapped(later).items():
        if key in _ACTIONS and given:
            known = [item for item in listed(values.get(key)) if item]
            found[key] = known or [f"a receiver of {address} that is known after the apply"]
        elif key == "alarm_name" and given is True:
            found[key] = address
        elif key not in _COMPUTED and (merged := _later(values.get(key), given, f"{address}.{key}")):
            found[key] = merged
    return found


def _later(value: Any, later: Any, what: str) -> Any:
    if later is True:
        return Unresolved(what, "which is known only after the plan was applied")
    if isinstance(later, Mapping):
        given = mapped(value)
        return {**given, **{k: _later(given.get(k), item, f"{what}.{k}") for k, item in later.items()}}
    if isinstance(later, list):
        given_list = listed(value)
        given_list = [*given_list, *[None] * (len(later) - len(given_list))]
        parts = zip(given_list, [*later, *[False] * (len(given_list) - len(later))], strict=True)
        return [_later(item, part, what) for item, part in parts]
    return value


def _left_out(line: str, kind: str, name: str) -> list[str]:
    """Name the alarms of another tool, which nothing here reads."""
    if kind in (METRIC, COMPOSITE) or not _OTHER_ALARM.search(kind):
        return []
    return [f"{line}: {kind} {name} is left out: alarms of {_tool_of(kind)} are not read"]


def _tool_of(kind: str) -> str:
    word = kind.partition("_")[0]
    return _TOOLS.get(word, word)


def _resources(
    part: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[Mapping[str, Any], tuple[str | int, ...]]]:
    waiting = [(part.get("root_module"), (*path, "root_module"))] if isinstance(part, Mapping) else []
    while waiting:
        module, at = waiting.pop()
        if not isinstance(module, Mapping):
            continue
        for number, resource in enumerate(listed(module.get("resources"))):
            if isinstance(resource, Mapping):
                yield resource, (*at, "resources", number)
        children = listed(module.get("child_modules"))
        waiting += [(child, (*at, "child_modules", number)) for number, child in enumerate(children)]


def read_files(
    files: Mapping[str, str], given: Collection[str] = ()
) -> tuple[list[RawAlarm], list[str], list[str]]:
    """Read a folder's files (path -> text), which Terraform reads as one: alarms, problems and notes.

    `given` are the files that the user named: files of variables among them count as with `-var-file`.
    """
    contents: dict[str, Content] = {}
    problems: list[str] = []
    notes: list[str] = []
    for path, text in files.items():
        content = parsed(path, text)
        if isinstance(content, str):
            problems.append(content)
        elif is_variables(path) and not is_loaded_alone(path) and path not in given:
            notes.append(f"{path}: left out: Terraform reads it only with -var-file; name it with --policies")
        else:
            contents[path] = content
    # Terraform's own order: terraform.tfvars, *.auto.tfvars by name, and what -var-file names.
    values = sorted(filter(is_variables, contents), key=lambda path: (path in given, ".auto." in path, path))
    # Files that override come last, by name: each of their arguments and blocks takes the place of the first.
    paths = sorted(contents.keys() - set(values), key=lambda path: (overrides(path), path))
    blocks = {path: contents[path] for path in paths}
    module, found = Module(blocks.values(), [contents[path] for path in values]), []
    bodies: dict[tuple[str, str], Mapping[str, Any]] = {}
    places: dict[tuple[str, str], str] = {}
    for path, content in blocks.items():
        for kind, name, body in labelled(content, "resource"):
            place = f"{path}:{line_of(files[path], kind, name)}"
            notes += _left_out(place, kind, name)
            if kind not in (METRIC, COMPOSITE):
                continue
            if overrides(path) and (kind, name) not in bodies:
                problems.append(f"{place}: overrides {kind}.{name}, which no other file has")
                continue
            if (kind, name) in bodies and not overrides(path):
                problems.append(f"{place}: {kind}.{name} is at {places[kind, name]} already")
                continue
            bodies[kind, name] = {**bodies.get((kind, name), {}), **body}
            places.setdefault((kind, name), place)
        notes += [
            f"{path}: module {name} is not followed: `terraform show -json PLAN` holds its alarms"
            for name, _ in named(content, "module")
        ]
    for (kind, name), body in bodies.items():
        if module.value(body.get("count", 1)) not in (0, "0"):
            found.append(RawAlarm(_alarm(module, kind, name, body), places[kind, name]))
    return found, problems, notes


def _alarm(module: Module, kind: str, name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    values = {key: module.value(given) for key, given in body.items() if not is_comment(key)}
    values |= {key: module.text(body[key]) for key in _TEXTS if key in body}
    values["alarm_name"] = module.alarm_name(kind, name)
    repeats = [key for key in ("for_each", "dynamic") if key in body]
    if values.get("count", 1) not in (1, "1"):
        repeats.append("count")
    if repeats:
        decisive = "alarm_rule" if kind == COMPOSITE else "threshold"
        values[decisive] = Unresolved(f"{kind}.{name}", f"which {' and '.join(repeats)} may vary: {HINT}")
    return _renamed(values, kind == COMPOSITE)


def _renamed(values: Mapping[str, Any], composite: bool) -> dict[str, Any]:
    """Rename Terraform's keys to those of `describe-alarms`."""
    plain: dict[str, Any] = {
        ours: values[key] for key, ours in _NAMES.items() if values.get(key) not in (None, "")
    }
    if composite:
        plain.setdefault("AlarmRule", None)
        for suppressor in _listed(values.get("actions_suppressor")):
            plain["ActionsSuppressor"] = suppressor.get("alarm")
            plain["ActionsSuppressorWaitPeriod"] = suppressor.get("wait_period")
            plain["ActionsSuppressorExtensionPeriod"] = suppressor.get("extension_period")
    else:
        plain.pop("AlarmRule", None)
        if queries := [_query(query) for query in _listed(values.get("metric_query"))]:
            plain["Metrics"] = queries
    return plain


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    given = query.get("return_data")
    plain: dict[str, Any] = {
        "Id": query.get("id"),
        "ReturnData": given if isinstance(given, Unresolved) else given in (True, "true"),
    }
    if query.get("expression"):
        return plain | {"Expression": query["expression"], "Period": query.get("period")}
    for metric in _listed(query.get("metric"))[:1]:
        plain["MetricStat"] = {
            "Stat": metric.get("stat"),
            "Period": metric.get("period"),
            "Unit": metric.get("unit") or None,
            "Metric": {
                "Namespace": metric.get("namespace"),
                "MetricName": metric.get("metric_name"),
                "Dimensions": metric.get("dimensions") or {},
            },
        }
    return plain


def _listed(given: Any) -> list[Mapping[str, Any]]:
    """Return nested blocks; in JSON a single block needs no list."""
    given = [given] if isinstance(given, Mapping) else given
    return [item for item in given if isinstance(item, Mapping)] if isinstance(given, list) else []
