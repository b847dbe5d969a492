"""Terraform's alarms: HCL files, and `terraform show -json` of a plan or a state -> raw alarms.

In HCL variables with a default, `terraform.tfvars`, locals, and plain arithmetic are followed; what only a
plan knows (modules, `for_each`, data sources, functions) stays open: `terraform show -json` has it all.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rushhour.alarms.formats.documents import listed
from rushhour.alarms.formats.raw_alarms import RawAlarm, Unresolved
from rushhour.alarms.maths import MathsError, parsed
from rushhour.scenario.yaml_node import Node

METRIC, COMPOSITE = "aws_cloudwatch_metric_alarm", "aws_cloudwatch_composite_alarm"
MAX_DEPTH: Final = 20
HINT: Final = "`terraform show -json PLAN` holds it"
_BLOCK: Final = re.compile(
    r"^[ \t]*(?:(?:resource|data)\s+\"[^\"\n]+\"\s+\"[^\"\n]+\""
    r"|(?:variable|module|provider|output)\s+\"[^\"\n]+\"|locals|terraform|moved|import)\s*\{",
    re.MULTILINE,
)
_HOLE: Final = re.compile(r"\$\{([^{}]*)\}")
_REFERENCE: Final = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+|\[[^\]]*\])*")

_NAMES: Final = {
    "alarm_name": "AlarmName", "alarm_description": "AlarmDescription", "actions_enabled": "ActionsEnabled",
    "alarm_actions": "AlarmActions", "ok_actions": "OKActions", "namespace": "Namespace", "period": "Period",
    "insufficient_data_actions": "InsufficientDataActions", "metric_name": "MetricName",
    "statistic": "Statistic", "extended_statistic": "ExtendedStatistic", "dimensions": "Dimensions",
    "evaluation_periods": "EvaluationPeriods", "datapoints_to_alarm": "DatapointsToAlarm",
    "threshold": "Threshold", "comparison_operator": "ComparisonOperator", "alarm_rule": "AlarmRule",
    "treat_missing_data": "TreatMissingData", "threshold_metric_id": "ThresholdMetricId",
    "evaluate_low_sample_count_percentiles": "EvaluateLowSampleCountPercentile",
    "evaluation_criteria": "EvaluationCriteria", "evaluation_interval": "EvaluationInterval",
}  # fmt: skip


def recognises_hcl(text: str) -> bool:
    """Whether a text has Terraform's blocks."""
    return _BLOCK.search(text) is not None


def recognises_json(plain: Any) -> bool:
    """Whether this is what `terraform show -json` prints."""
    return isinstance(plain, Mapping) and (
        "planned_values" in plain
        or ("values" in plain and ("terraform_version" in plain or "format_version" in plain))
    )


def read_json(node: Node, path: str) -> tuple[list[RawAlarm], list[str]]:
    """The alarms of a plan or a state, those of its modules too."""
    key = "planned_values" if "planned_values" in node.plain else "values"
    found = []
    for resource, place in _resources(node.plain.get(key), (key,)):
        if resource.get("mode", "managed") != "managed" or resource.get("type") not in (METRIC, COMPOSITE):
            continue
        values = resource.get("values")
        plain = _renamed(values if isinstance(values, Mapping) else {}, resource["type"] == COMPOSITE)
        found.append(RawAlarm(plain, f"{path}:{node.line(place)}"))
    return found, []


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


def read_hcl(files: Mapping[str, str]) -> tuple[list[RawAlarm], list[str]]:
    """The alarms of a folder's files (path -> text), which Terraform reads as one; and its problems."""
    plain: dict[str, Mapping[str, Any]] = {}
    problems: list[str] = []
    for path, text in files.items():
        content = _parsed(path, text)
        if isinstance(content, str):
            problems.append(content)
        else:
            plain[path] = content
    module, found = _Module(plain), []
    for path, content in plain.items():
        if path.endswith(".tfvars"):
            continue
        for kind, name, body in _blocks(content, "resource"):
            if kind not in (METRIC, COMPOSITE):
                continue
            place = f"{path}:{_line(files[path], kind, name)}"
            found.append(RawAlarm(_alarm(module, kind, name, body), place))
    return found, problems


def _parsed(path: str, text: str) -> Mapping[str, Any] | str:
    """A file's content, or what is wrong with it, with file:line."""
    import hcl2  # noqa: PLC0415 - it builds its parser on import, and few teams need it
    from hcl2.utils import SerializationOptions  # noqa: PLC0415
    from lark.exceptions import LarkError, UnexpectedInput  # noqa: PLC0415

    options = SerializationOptions(with_comments=False, strip_string_quotes=True)
    try:
        content: Mapping[str, Any] = hcl2.loads(text, serialization_options=options)
        return content
    except UnexpectedInput as error:
        return f"{path}:{max(1, error.line)}: not HCL: {str(error).splitlines()[0]}"
    except (LarkError, RecursionError, ValueError, TypeError, AttributeError) as error:
        return f"{path}:1: cannot be read as HCL: {type(error).__name__}: {error}"


def _alarm(module: "_Module", kind: str, name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    values = {key: module.value(given) for key, given in body.items() if not key.startswith("__")}
    values["alarm_name"] = module.alarm_name(kind, name)
    repeats = [key for key in ("for_each", "dynamic") if key in body]
    if values.get("count", 1) != 1:
        repeats.append("count")
    if repeats:
        open_ = Unresolved(f"{kind}.{name}, made by {', '.join(repeats)}: {HINT}")
        return _renamed(
            values | {"alarm_rule" if kind == COMPOSITE else "threshold": open_}, kind == COMPOSITE
        )
    return _renamed(values, kind == COMPOSITE)


def _renamed(values: Mapping[str, Any], composite: bool) -> dict[str, Any]:
    """Terraform's keys as those of `describe-alarms`."""
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
    plain: dict[str, Any] = {"Id": query.get("id"), "ReturnData": query.get("return_data") in (True, "true")}
    if query.get("expression"):
        return plain | {"Expression": query["expression"], "Period": query.get("period")}
    for metric in _listed(query.get("metric"))[:1]:
        plain["MetricStat"] = {
            "Stat": metric.get("stat"),
            "Period": metric.get("period"),
            "Metric": {
                "Namespace": metric.get("namespace"),
                "MetricName": metric.get("metric_name"),
                "Dimensions": metric.get("dimensions") or {},
            },
        }
    return plain


def _listed(given: Any) -> list[Mapping[str, Any]]:
    return [item for item in given if isinstance(item, Mapping)] if isinstance(given, list) else []


def _blocks(content: Mapping[str, Any], word: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for block in listed(content.get(word)):
        for kind, named in block.items():
            if isinstance(named, Mapping):
                for name, body in named.items():
                    if isinstance(body, Mapping):
                        yield kind.strip('"'), name.strip('"'), body


def _line(text: str, kind: str, name: str) -> int:
    match = re.search(rf'resource\s+"?{re.escape(kind)}"?\s+"?{re.escape(name)}"?\s*\{{', text)
    return text.count("\n", 0, match.start()) + 1 if match else 1


class _Module:
    """What the files of a folder say of variables, locals and alarms."""

    def __init__(self, contents: Mapping[str, Mapping[str, Any]]) -> None:
        self._variables: dict[str, Any] = {}
        self._locals: dict[str, Any] = {}
        self._alarms: dict[tuple[str, str], Mapping[str, Any]] = {}
        values: dict[str, Any] = {}
        for path, content in contents.items():
            if path.endswith(".tfvars"):
                values |= content
                continue
            for block in listed(content.get("variable")):
                for name, body in block.items():
                    if isinstance(body, Mapping):
                        self._variables[name.strip('"')] = body.get("default", Unresolved(f"var.{name}"))
            for block in listed(content.get("locals")):
                self._locals |= {key: item for key, item in block.items() if not key.startswith("__")}
            for kind, name, body in _blocks(content, "resource"):
                self._alarms[kind, name] = body
        self._variables |= {key: item for key, item in values.items() if key in self._variables}

    def alarm_name(self, kind: str, name: str) -> str:
        given = self._alarms[kind, name].get("alarm_name")
        return str(self.value(given)) if given is not None else name

    def value(self, given: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - each shape has its own
        """With its references followed; `Unresolved` where only a plan knows."""
        if depth > MAX_DEPTH:
            return Unresolved("a reference that goes around in circles")
        if isinstance(given, list):
            return [self.value(item, depth + 1) for item in given]
        if isinstance(given, Mapping):
            return {
                key.strip('"'): self.value(item, depth + 1)
                for key, item in given.items()
                if not key.startswith("__")
            }
        if not isinstance(given, str):
            return given
        text = _heredoc(given)
        whole = _HOLE.fullmatch(text)
        if whole:
            return self._expression(whole[1].strip(), depth)
        if "${" in _HOLE.sub("", text):  # expressions within expressions
            return Unresolved(text.removeprefix("${").removesuffix("}"))
        return _HOLE.sub(lambda match: str(self._expression(match[1].strip(), depth)), text)

    def _expression(self, text: str, depth: int) -> Any:
        if _REFERENCE.fullmatch(text):
            return self._reference(text, depth)
        try:
            maths = parsed(_REFERENCE.sub(lambda match: self._number(match[0], depth), text))
        except MathsError:
            return Unresolved(text if len(text) < 60 else f"{text[:57]}...")
        value = maths.value(lambda _: None)
        return Unresolved(text) if value is None else value

    def _number(self, reference: str, depth: int) -> str:
        found = self._reference(reference, depth)
        return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else "?"

    def _reference(self, text: str, depth: int) -> Any:
        head, _, rest = text.partition(".")
        if text in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[text]
        if head == "var" and rest in self._variables:
            return self.value(self._variables[rest], depth + 1)
        if head == "local" and rest in self._locals:
            return self.value(self._locals[rest], depth + 1)
        name, _, attribute = rest.partition(".")
        if (head, name) in self._alarms:
            if head in (METRIC, COMPOSITE) and attribute in ("alarm_name", "id", "arn"):
                return self.alarm_name(head, name)
            return f"{head}.{name}" if attribute in ("arn", "id", "name") else Unresolved(text)
        return Unresolved(text)


def _heredoc(text: str) -> str:
    """The lines of `<<EOT` or `<<-EOT`, which the parser keeps as they stand."""
    match = re.fullmatch(r'"?<<-?\s*(\w+)\n(.*?)\n?\s*\1\s*"?', text, re.DOTALL)
    return match[2] if match else text
