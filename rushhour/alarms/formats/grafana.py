"""Grafana's alert rules as provisioning exports them (YAML, JSON, the API's list) -> Prometheus rules (pure).

Queries of a Prometheus data source become PromQL, with reduce, math, threshold and classic conditions.
Whatever else a rule is made of makes it unknown by name. A rule without data fires too, where its
`noDataState` is NoData or Alerting.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rushhour.alarms.formats.documents import flag, listed, mapped, spelled
from rushhour.alarms.promtool import is_duration, milliseconds
from rushhour.alarms.rules import LONGEST_INTERVAL_S, Rule
from rushhour.alarms.selectors import MOST_CHARACTERS, aggregated_by, selectors
from rushhour.alarms.unreplayed import Unreplayed
from rushhour.scenario.yaml_node import Node

EXPRESSION: Final = ("__expr__", "-100")
MAX_DEPTH: Final = 20
_BESIDE: Final = frozenset(
    {
        *("muteTimes", "contactPoints", "templates", "deleteRules", "deleteContactPoints", "deleteTemplates"),
        *("deleteMuteTimes", "resetPolicies"),
    }
)
_REFERENCE: Final = re.compile(r"\$\{?(\w+)\}?")
_COMPARISON: Final = re.compile(r"(==|!=|<=|>=|<|>)")
_ARITHMETIC: Final = re.compile(r"[\w\s$.{}()+*/%<>=!^-]*")
_REDUCERS: Final = {
    "mean": "avg_over_time", "avg": "avg_over_time", "max": "max_over_time", "min": "min_over_time",
    "sum": "sum_over_time", "count": "count_over_time", "last": "last_over_time",
}  # fmt: skip
_STRICT: Final = "strict"
_GIVES_NAN: Final = re.compile(
    r"[/%]|\b(quantile\w*|histogram_quantile|sqrt|ln|log\w*)\b|\b(nan|inf)\b", re.IGNORECASE
)
_OF_LABELS: Final = re.compile(r"\{[^{}]*\}|\"[^\"]*\"")
_COMPARE: Final = {"gt": ">", "lt": "<", "gte": ">=", "lte": "<=", "eq": "==", "ne": "!="}


def recognises(plain: Any) -> bool:
    """Return whether these are Grafana's rules: each has `data`, and a `condition` or what it records."""
    rules = list(_rules(plain))
    return bool(rules) and all(
        "data" in rule and ("condition" in rule or _records(rule)) for rule, _, _ in rules
    )


def recording(plain: Any) -> int:
    """Return how many of its rules record a series, which are left out."""
    return sum(_records(rule) for rule, _, _ in _rules(plain))


def _records(rule: Mapping[str, Any]) -> bool:
    return isinstance(rule.get("record"), Mapping)


def recognises_other(plain: Any) -> bool:
    """Return whether this is provisioned beside alert rules, and holds none: contact points, mute times."""
    return (
        isinstance(plain, Mapping)
        and bool(plain.keys() & _BESIDE)
        and plain.keys() <= {*_BESIDE, "apiVersion"}
    )


def left_out(plain: Any) -> list[str]:
    """Return which parts of such a file are not read."""
    return sorted((mapped(plain).keys() & _BESIDE) - {"muteTimes"})


def _rules(plain: Any) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], tuple[str | int, ...]]]:
    """Yield each rule with its group and its place."""
    if isinstance(plain, list):
        for at, rule in enumerate(plain):
            if isinstance(rule, Mapping):
                yield rule, {"name": rule.get("ruleGroup"), "folder": rule.get("folderUID")}, (at,)
        return
    for number, group in enumerate(listed(mapped(plain).get("groups"))):
        for at, rule in enumerate(listed(mapped(group).get("rules"))):
            if isinstance(rule, Mapping):
                yield rule, group, ("groups", number, "rules", at)


class _OpenError(Exception):
    """The rule cannot be replayed; the text says what is missing."""


def read(node: Node, path: str) -> tuple[list[Rule], list[Unreplayed], list[str]]:
    """Return the rules that can be replayed, those that cannot, and the problems with their lines."""
    rules: list[Rule] = []
    unknown: list[Unreplayed] = []
    problems: list[str] = []
    for plain, group, at in _rules(node.plain):
        if _records(plain):
            continue
        line = f"{path}:{node.line(at)}"
        title = str(plain.get("title") or "")
        if not title:
            problems.append(f"{line}: a rule has no title")
            continue
        durations = {"for": plain.get("for"), "keep_firing_for": plain.get("keep_firing_for")}
        durations["interval"] = group.get("interval")
        wrong = {key: given for key, given in durations.items() if given and not is_duration(given)}
        problems += [
            f"{line}: {title}: {key} {given!r} is not a duration as 5m" for key, given in wrong.items()
        ]
        labels = plain.get("labels") or {}
        if wrong or not isinstance(labels, Mapping):
            continue
        if flag(plain.get("isPaused")) is True:
            unknown.append(Unreplayed(title, "grafana", title, "is paused: it is not evaluated at all"))
            continue
        try:
            expression = _Query(plain).whole()
            reads = selectors(expression)
        except (_OpenError, ValueError) as error:
            unknown.append(Unreplayed(title, "grafana", title, str(error)))
            continue
        interval = durations["interval"]
        every_s = milliseconds(str(interval)) / 1000 if interval else 60.0
        if every_s > LONGEST_INTERVAL_S:
            problems.append(f"{line}: {title}: interval {interval!r} is longer than an hour")
            continue
        rules.append(
            Rule(
                alert=title,
                record="",
                expression=expression,
                reads=reads,
                wait=str(durations["for"] or ""),
                keep=str(durations["keep_firing_for"] or ""),
                labels=tuple(sorted(_labels(node, at, labels, group).items())),
                group=f"{path} {group.get('name')}",
                every_s=every_s,
                place=line,
            )
        )
    return rules, unknown, problems


def _labels(
    node: Node, at: tuple[str | int, ...], labels: Mapping[str, Any], group: Mapping[str, Any]
) -> dict[str, str]:
    own = {label: spelled(node, (*at, "labels", label), value) for label, value in labels.items()}
    return {"grafana_folder": str(group.get("folder") or "")} | own


class _Query:
    """One rule's queries and expressions by their refId."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self._plain = plain
        self._known: dict[str, str] = {}  # what several expressions read is written once
        data = listed(plain.get("data"))
        self._parts = {str(item.get("refId")): item for item in data if isinstance(item, Mapping)}

    def whole(self) -> str:
        """Return the condition as PromQL, and where it has no data."""
        if receiver := mapped(self._plain.get("notification_settings")).get("receiver"):
            raise _OpenError(
                f"goes to {receiver} by notification_settings of its own, which are not replayed"
            )
        condition = str(self._plain.get("condition"))
        fires = f"(({self._value(condition, 0)}) != 0)"
        if self._plain.get("noDataState", "NoData") in ("NoData", "Alerting"):
            fires += "".join(
                f" or absent({self._query(name, part)})"
                for name, part in self._parts.items()
                if str(part.get("datasourceUid")) not in EXPRESSION
            )
        return fires

    def _part(self, name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        part = self._parts.get(name)
        model = part.get("model") if part is not None else None
        if part is None or not isinstance(model, Mapping):
            raise _OpenError(f"its condition reads {name}, which it does not hold")
        return part, model

    def _kind(self, part: Mapping[str, Any], model: Mapping[str, Any]) -> str:
        return str(model.get("type")) if str(part.get("datasourceUid")) in EXPRESSION else "query"

    def _value(self, name: str, depth: int) -> str:
        if name not in self._known:
            self._known[name] = self._written(name, depth)
        if len(self._known[name]) > MOST_CHARACTERS:
            raise _OpenError(f"its expression {name} has more than {MOST_CHARACTERS:,} characters")
        return self._known[name]

    def _written(self, name: str, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise _OpenError(f"its expression {name} reads itself")
        part, model = self._part(name)
        match self._kind(part, model):
            case "query":
                return self._query(name, part)
            case "reduce":
                mode = str(mapped(model.get("settings")).get("mode") or _STRICT)
                reducer = str(model.get("reducer") or "last")
                return self._reduced(str(model.get("expression")), reducer, depth, mode)
            case "threshold":
                if _first(model.get("conditions")).get("unloadEvaluator"):
                    raise _OpenError(
                        f"its threshold {name} ends at another value than it begins, not replayed"
                    )
                inner = self._value(_bare(model.get("expression")), depth + 1)
                return self._compared(inner, _first(model.get("conditions")))
            case "math":
                return self._math(str(model.get("expression")), depth)
            case "classic_conditions":
                return self._classic(listed(model.get("conditions")), depth)
            case other:
                raise _OpenError(f"its expression {name} is of type {other!r}, which is not replayed")

    def _query(self, name: str, part: Mapping[str, Any]) -> str:
        model = mapped(part.get("model"))
        source = model.get("datasource")
        kind = source.get("type") if isinstance(source, Mapping) else None
        text = model.get("expr")
        if kind not in (None, "prometheus") or not isinstance(text, str) or not text:
            raise _OpenError(
                f"its query {name} asks {kind or 'a data source'} without PromQL, which is not replayed"
            )
        every = max(1, _whole(model.get("intervalMs"), 15_000) // 1000)
        for macro, value in (("$__rate_interval", f"{max(60, 4 * every)}s"), ("$__interval", f"{every}s")):
            text = text.replace(macro, value)
        if self._plain.get("noDataState") == "KeepLast" and _COMPARISON.search(_OF_LABELS.sub("", text)):
            raise _OpenError(f"keeps its last state where query {name} gives nothing, which is not replayed")
        if "$" in re.sub(r'"[^"]*"', "", text):
            raise _OpenError(f"its query {name} has a variable, which an alert rule cannot resolve: {text}")
        ago = _whole(mapped(part.get("relativeTimeRange")).get("to"), 0)
        return f"last_over_time(({text})[{every}s:{every}s] offset {ago}s)" if ago > 0 else text

    def _reduced(self, reference: str, reducer: str, depth: int, mode: str = _STRICT) -> str:
        name = _bare(reference)
        inner = self._value(name, depth + 1)
        if mode != _STRICT and _GIVES_NAN.search(_OF_LABELS.sub("", inner)):
            raise _OpenError(f"reduces {name} in mode {mode}, and it may give NaN, which is not replayed")
        part, model = self._part(name)
        function = _REDUCERS.get(reducer)
        if function is None:
            raise _OpenError(f"its reducer {reducer!r} is not replayed; {', '.join(_REDUCERS)} are")
        if self._kind(part, model) != "query" or flag(model.get("instant")) is True or reducer == "last":
            return inner if reducer != "count" else f"count({inner})"
        span = mapped(part.get("relativeTimeRange"))
        seconds = _whole(span.get("from"), 600) - _whole(span.get("to"), 0)  # the query itself ends at `to`
        every = max(1, _whole(model.get("intervalMs"), 15_000) // 1000)
        return f"{function}(({inner})[{max(seconds, every)}s:{every}s])"

    def _compared(self, inner: str, condition: Mapping[str, Any]) -> str:
        evaluator = mapped(condition.get("evaluator"))
        kind, limits = str(evaluator.get("type")), [_float(item) for item in listed(evaluator.get("params"))]
        if kind in _COMPARE and limits:
            return f"(({inner}) {_COMPARE[kind]} bool {limits[0]:.15g})"
        if kind == "within_range" and len(limits) > 1:
            return f"((({inner}) > bool {min(limits):.15g}) * (({inner}) < bool {max(limits):.15g}))"
        if kind == "outside_range" and len(limits) > 1:
            return f"((({inner}) < bool {min(limits):.15g}) + (({inner}) > bool {max(limits):.15g}))"
        raise _OpenError(f"its threshold {kind!r} is not replayed; {', '.join(_COMPARE)} and ranges are")

    def _math(self, text: str, depth: int) -> str:
        if not _ARITHMETIC.fullmatch(text):
            raise _OpenError(
                f"its math {text!r} is more than arithmetic and comparisons, which is not replayed"
            )
        self._check_labels(text)
        text = text.replace("**", "^")
        text = _COMPARISON.sub(r"\1 bool ", text)  # Grafana's comparisons give 0 or 1
        return "(" + _REFERENCE.sub(lambda match: f"({self._value(match[1], depth + 1)})", text) + ")"

    def _check_labels(self, text: str) -> None:
        """Refuse maths over queries of different labels: Grafana joins them, and PromQL does not."""
        found: dict[str, frozenset[str]] = {}
        for name in dict.fromkeys(_REFERENCE.findall(text)):
            labels = self._labels_of(name, 0)
            if labels is not None:
                found[name] = labels
        if len(set(found.values())) > 1:
            words = ", ".join(f"{name} by ({', '.join(sorted(labels))})" for name, labels in found.items())
            raise _OpenError(
                f"its math {text!r} joins queries of different labels ({words}), which is not replayed"
            )

    def _labels_of(self, name: str, depth: int) -> frozenset[str] | None:
        """Return the labels of a query that aggregates, also through what reduces it; None for any others."""
        part = self._parts.get(name)
        if part is None or depth > MAX_DEPTH:
            return None
        model = mapped(part.get("model"))
        if self._kind(part, model) == "query":
            return aggregated_by(str(model.get("expr") or ""))
        if self._kind(part, model) in ("reduce", "threshold"):
            return self._labels_of(_bare(model.get("expression")), depth + 1)
        return None

    def _classic(self, conditions: list[Any], depth: int) -> str:
        if len(conditions) != 1:
            raise _OpenError(f"has {len(conditions)} classic conditions; one is replayed")
        condition = _first(conditions)
        name = next(map(str, listed(mapped(condition.get("query")).get("params"))), "")
        reducer = str(mapped(condition.get("reducer")).get("type") or "last")
        return self._compared(self._reduced(name, reducer, depth + 1), condition)


def _first(given: Any) -> Mapping[str, Any]:
    return next(map(mapped, listed(given)), {})


def _whole(given: Any, usual: int) -> int:
    if given is None:
        return usual
    if isinstance(given, bool) or not isinstance(given, int):
        raise _OpenError(f"{given!r} stands where a whole number must")
    return given


def _float(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _OpenError(f"its limit {given!r} is not a number")
    try:
        return float(given)
    except OverflowError:
        raise _OpenError("its limit is a number that is too large") from None


def _bare(reference: Any) -> str:
    return str(reference).strip().removeprefix("$").strip("{}")
