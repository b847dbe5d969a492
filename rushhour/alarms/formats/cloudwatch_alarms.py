"""CloudWatch alarms with the keys of `describe-alarms`, whatever file they are from -> policies (pure)."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rushhour.alarms.cloudwatch import Actions, CloudWatchAlarm, looks_back_too_far
from rushhour.alarms.composite import CompositeAlarm, RuleError, Suppressor, name_of, parsed_rule
from rushhour.alarms.events import Policy
from rushhour.alarms.formats.names import Names, cloudwatch_stat
from rushhour.alarms.formats.raw_alarms import (
    OpenAlarmError,
    RawAlarm,
    Unresolved,
    WrongAlarmError,
    as_number,
    as_text,
    number_of,
    text_of,
    unresolved_in,
    whole_of,
)
from rushhour.alarms.maths import MathsError, checked
from rushhour.alarms.points import PLAIN, MetricStat
from rushhour.alarms.unreplayed import Unreplayed

COMPARISONS: Final = {
    "GreaterThanOrEqualToThreshold": ">=",
    "GreaterThanThreshold": ">",
    "LessThanThreshold": "<",
    "LessThanOrEqualToThreshold": "<=",
}
BANDS: Final = (
    "LessThanLowerOrGreaterThanUpperThreshold",
    "LessThanLowerThreshold",
    "GreaterThanUpperThreshold",
)
STATISTICS: Final = {
    "Sum": "sum",
    "Average": "average",
    "Minimum": "minimum",
    "Maximum": "maximum",
    "SampleCount": "sample_count",
}
MAX_NESTED: Final = 50  # composite alarms that name composite alarms
MISSING: Final = ("missing", "ignore", "breaching", "notBreaching")
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(\.\d{1,10})?|100)$")
_OTHER_STATISTIC: Final = re.compile(r"(tm|wm|tc|ts|pr|TM|WM|TC|TS|PR)[\d(:.%)]*$|IQM$")
_DOES: Final = re.compile(r"arn:[^:]*:(autoscaling|swf|automate|ec2)[:.]|scaling_?policy", re.IGNORECASE)
# Names, descriptions and who is notified do not decide when an alarm goes off.
_NOT_DECISIVE: Final = frozenset(
    {"AlarmName", "AlarmDescription", "Dimensions", "AlarmActions", "OKActions", "InsufficientDataActions"}
)
_ANOMALY: Final = (
    "watches an anomaly detection band, which CloudWatch learns from weeks of history; a replay has no such "
    "history, so only a threshold of its own can be replayed"
)


def metric_alarms(raws: Iterable[RawAlarm], names: Names) -> tuple[list[Policy], list[str]]:
    """Return the metric alarms among them, and their problems with file and line."""
    found: list[Policy] = []
    problems: list[str] = []
    for raw in raws:
        if raw.composite:
            continue
        try:
            found.append(_metric_alarm(raw, names))
        except WrongAlarmError as error:
            problems.append(f"{raw.place}: {raw.name or 'an alarm'}: {error}")
        except OpenAlarmError as error:
            found.append(Unreplayed(raw.name, "cloudwatch", _rule(raw), str(error)))
    return found, problems


def composite_alarms(raws: Iterable[RawAlarm], metric: Iterable[Policy]) -> tuple[list[Policy], list[str]]:
    """Return the composite alarms among them; `metric` are all alarms that they may name."""
    waiting = {raw.name: raw for raw in raws if raw.composite}
    done: dict[str, Policy] = {policy.name: policy for policy in metric}
    found: list[Policy] = []
    problems: list[str] = []

    def build(raw: RawAlarm, above: tuple[str, ...]) -> Policy | None:
        try:
            text_of(raw, "AlarmName")
            _check_depth(above)
            rule = parsed_rule(text_of(raw, "AlarmRule"))
            suppressor = _suppressor(raw)
            needed = [*rule.names, *((suppressor.alarm,) if suppressor else ())]
            for name in needed:
                if name in waiting and name not in done and name not in above:
                    child = build(waiting[name], (*above, raw.name))
                    if child is not None:
                        done[name] = child
            alarms = {
                name: done[name]
                for name in needed
                if isinstance(done.get(name), CloudWatchAlarm | CompositeAlarm)
            }
            unknown = {name: _why(done.get(name), name in above) for name in needed if name not in alarms}
            return CompositeAlarm(
                name=raw.name,
                alarm_rule=rule,
                actions=_actions(raw),
                alarms=alarms,  # type: ignore[arg-type]  # of the two classes above
                unknown=unknown,
                suppressor=suppressor,
                description=str(raw.plain.get("AlarmDescription") or ""),
            )
        except WrongAlarmError as error:
            problems.append(f"{raw.place}: {raw.name or 'an alarm'}: {error}")
            return None
        except (OpenAlarmError, RuleError) as error:
            return Unreplayed(raw.name, "cloudwatch", str(raw.plain.get("AlarmRule")), str(error))

    for name, raw in waiting.items():
        policy = done.get(name) or build(raw, (name,))
        if policy is not None:
            done[name] = policy
            found.append(policy)
    return found, problems


def _check_depth(above: tuple[str, ...]) -> None:
    if len(above) > MAX_NESTED:
        raise OpenAlarmError(f"alarms name alarms more than {MAX_NESTED} deep")


def _why(policy: Policy | None, circular: bool) -> str:
    if circular:
        return "it reads this one in turn"
    return policy.why if isinstance(policy, Unreplayed) else "no file holds it"


def _metric_alarm(raw: RawAlarm, names: Names) -> CloudWatchAlarm:
    plain = raw.plain
    text_of(raw, "AlarmName")
    for key in sorted(plain.keys() - _NOT_DECISIVE):
        if (found := unresolved_in(plain[key])) is not None:
            raise OpenAlarmError(f"{key} is {found}, {found.why}")
    periods = whole_of(raw, "EvaluationPeriods")
    comparison = text_of(raw, "ComparisonOperator")
    if comparison in BANDS or plain.get("ThresholdMetricId"):
        raise OpenAlarmError(_ANOMALY)
    if comparison not in COMPARISONS:
        raise WrongAlarmError(
            f"ComparisonOperator {comparison!r} is none of {', '.join((*COMPARISONS, *BANDS))}"
        )
    for key in ("EvaluationCriteria", "EvaluationInterval"):
        if plain.get(key):
            raise OpenAlarmError(
                f"is evaluated by {key}, which is not replayed; metric alarms and metric maths are"
            )
    if plain.get("EvaluateLowSampleCountPercentile") == "ignore":
        raise OpenAlarmError("EvaluateLowSampleCountPercentile `ignore` depends on AWS's count of samples")
    needed = plain.get("DatapointsToAlarm")
    watched = _maths(raw, names) if plain.get("Metrics") else _single(raw, names)
    if watched["period"] not in (10, 20, 30) and (watched["period"] % 60 or watched["period"] <= 0):
        raise WrongAlarmError(
            f"Period {watched['period']:g} s: CloudWatch has 10 s, 20 s, 30 s and whole minutes"
        )
    if why := looks_back_too_far(watched["period"], periods):
        raise WrongAlarmError(f"EvaluationPeriods: {why}")
    missing = plain.get("TreatMissingData") or "missing"
    if missing not in MISSING:
        raise WrongAlarmError(f"TreatMissingData {missing!r} is none of {', '.join(MISSING)}")
    if needed is not None and whole_of(raw, "DatapointsToAlarm") > periods:
        raise WrongAlarmError(f"DatapointsToAlarm {needed} is more than EvaluationPeriods {periods}")
    return CloudWatchAlarm(
        name=raw.name,
        threshold=number_of(raw, "Threshold"),
        comparison=COMPARISONS[comparison],  # type: ignore[arg-type]  # its values are the four
        evaluation_periods=periods,
        datapoints_to_alarm=None if needed is None else whole_of(raw, "DatapointsToAlarm"),
        treat_missing_data=missing,  # type: ignore[arg-type]  # one of the four
        actions=_actions(raw),
        description=str(plain.get("AlarmDescription") or ""),
        **watched,
    )


def _single(raw: RawAlarm, names: Names) -> dict[str, Any]:
    """Return the keys of an alarm on one metric."""
    plain = raw.plain
    given = plain.get("ExtendedStatistic") or plain.get("Statistic")
    if given is None:
        raise WrongAlarmError("has no Statistic, no ExtendedStatistic and no Metrics")
    stat = _stat({**plain, "Stat": given}, names)
    return {
        "period": number_of(raw, "Period"),
        "metric": stat.metric,
        "statistic": stat.statistic,
        "gaps": stat.gaps,
        "samples": stat.samples,
        "times": stat.times,
        "part_of": stat.part_of,
    }


def _maths(raw: RawAlarm, names: Names) -> dict[str, Any]:
    """Return the keys of an alarm on metric maths: the query that returns data, and what it reads."""
    queries = raw.plain["Metrics"]
    if not isinstance(queries, list) or not all(isinstance(query, Mapping) for query in queries):
        raise WrongAlarmError("Metrics must be a list of queries")
    metrics: dict[str, MetricStat] = {}
    expressions: dict[str, str] = {}
    periods: set[float] = set()
    unknown: dict[str, str] = {}
    returned = [str(query.get("Id")) for query in queries if query.get("ReturnData", True)]
    for query in queries:
        name = str(query.get("Id"))
        if query.get("Expression"):
            expressions[name] = as_text(query["Expression"], "Expression")
            continue
        stat, metric = query.get("MetricStat"), (query.get("MetricStat") or {}).get("Metric")
        if not isinstance(stat, Mapping) or not isinstance(metric, Mapping):
            raise WrongAlarmError(f"query {name} has neither Expression nor MetricStat")
        periods.add(as_number(stat.get("Period"), f"Period of {name}"))
        try:
            metrics[name] = _stat({**metric, "Stat": stat.get("Stat")}, names)
        except OpenAlarmError as error:
            unknown[name] = str(error)
    if any("ANOMALY_DETECTION_BAND" in text for text in expressions.values()):
        raise OpenAlarmError(_ANOMALY)
    if any(re.match(r"\s*SELECT\b", text, re.IGNORECASE) for text in expressions.values()):
        raise OpenAlarmError("asks by Metrics Insights (SELECT ...), which is not replayed")
    if len(returned) != 1:
        raise WrongAlarmError(
            f"{len(returned)} of its Metrics return data ({', '.join(returned)}); exactly 1 must"
        )
    return _watched(returned[0], metrics, expressions, periods, unknown)


def _watched(
    returned: str,
    metrics: dict[str, MetricStat],
    expressions: dict[str, str],
    periods: set[float],
    unknown: Mapping[str, str],
) -> dict[str, Any]:
    expression = expressions.get(returned, returned)
    try:
        read = checked(expression, expressions, frozenset({*metrics, *unknown}))
    except MathsError as error:
        raise OpenAlarmError(f"its expression {error}") from None
    used = {name for maths in read.values() for name in maths.names}
    if missing := [why for name, why in unknown.items() if name in used]:
        raise OpenAlarmError("; ".join(missing))
    if len(periods) != 1:
        raise OpenAlarmError(f"its metrics have {len(periods)} different periods, which is not replayed")
    return {
        "period": periods.pop(),
        "expression": expression,
        "expressions": {name: text for name, text in expressions.items() if name in used},
        "metrics": {name: stat for name, stat in metrics.items() if name in used},
    }


def _stat(metric: Mapping[str, Any], names: Names) -> MetricStat:
    """Of a mapping with Namespace, MetricName, Dimensions and Stat."""
    text = as_text(metric["Stat"], "Statistic")
    ours = STATISTICS.get(text, text)
    if ours not in PLAIN and not _PERCENTILE.match(ours):
        if _OTHER_STATISTIC.match(ours):
            raise OpenAlarmError(
                f"statistic {text} is not replayed; {', '.join(STATISTICS)} and percentiles are"
            )
        raise WrongAlarmError(f"statistic {text!r} is none of {', '.join(STATISTICS)} and percentiles as p99")
    namespace, name = (as_text(metric.get(key), key) for key in ("Namespace", "MetricName"))
    found = cloudwatch_stat(namespace, name, _dimensions(metric.get("Dimensions")), ours, names)
    if isinstance(found, str):
        raise OpenAlarmError(found)
    return found


def _dimensions(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): str(value) for name, value in given.items()}
    if not isinstance(given, list) or not all(isinstance(item, Mapping) and "Name" in item for item in given):
        raise WrongAlarmError("Dimensions must be a list of Name and Value")
    return {str(item["Name"]): str(item.get("Value")) for item in given}


def _suppressor(raw: RawAlarm) -> Suppressor | None:
    if not raw.plain.get("ActionsSuppressor"):
        return None
    waits = [
        number_of(raw, key) if raw.plain.get(key) is not None else 0.0
        for key in ("ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod")
    ]
    return Suppressor(name_of(text_of(raw, "ActionsSuppressor")), *waits)


def _actions(raw: RawAlarm) -> Actions:
    """Return whom it notifies; scaling policies and restarts notify nobody."""
    enabled = raw.plain.get("ActionsEnabled")
    if isinstance(enabled, Unresolved):
        raise OpenAlarmError(f"ActionsEnabled is {enabled}, {enabled.why}")
    if raw.plain.get("ActionsEnabled") in (False, "false"):
        return Actions()
    notified = []
    for key in ("AlarmActions", "OKActions", "InsufficientDataActions"):
        given = raw.plain.get(key) or []
        if isinstance(given, Unresolved):
            raise OpenAlarmError(f"{key} is {given}, {given.why}")
        if not isinstance(given, list):
            raise WrongAlarmError(f"{key} must be a list")
        notified.append(tuple(_short(str(item)) for item in given if not _DOES.search(str(item))))
    return Actions(*notified)


def _short(arn: str) -> str:
    return arn.rpartition(":")[2] if arn.startswith("arn:") else arn


def _rule(raw: RawAlarm) -> str:
    plain = raw.plain
    what = plain.get("MetricName") or "metric maths"
    return f"{what} {plain.get('ComparisonOperator')} {plain.get('Threshold')}"
