"""CloudWatch's metric alarms, with the keys of `describe-alarms` and from any file -> policies (pure)."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rushhour.alarms.cloudwatch import CloudWatchAlarm, looks_back_too_far, wrong_period
from rushhour.alarms.events import Policy
from rushhour.alarms.formats.documents import flag
from rushhour.alarms.formats.names import Names, cloudwatch_stat
from rushhour.alarms.formats.raw_alarms import (
    OpenAlarmError,
    RawAlarm,
    WrongAlarmError,
    actions_of,
    as_number,
    as_text,
    choice_of,
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
MISSING: Final = ("missing", "ignore", "breaching", "notBreaching")
AWS_PERIOD_S: Final = 60.0  # how often AWS publishes a metric of its own at best
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(\.\d{1,10})?|100)$")
_OTHER_STATISTIC: Final = re.compile(r"(tm|wm|tc|ts|pr|TM|WM|TC|TS|PR)[\d(:.%)]*$|IQM$")
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


def _metric_alarm(raw: RawAlarm, names: Names) -> CloudWatchAlarm:
    plain = raw.plain
    text_of(raw, "AlarmName")
    for key in sorted(plain.keys() - _NOT_DECISIVE):
        if (found := unresolved_in(plain[key])) is not None:
            raise OpenAlarmError(f"{key} is {found}, {found.why}")
    for key in ("EvaluationCriteria", "EvaluationInterval"):
        if plain.get(key):
            raise OpenAlarmError(
                f"is evaluated by {key}, which is not replayed; metric alarms and metric maths are"
            )
    periods = whole_of(raw, "EvaluationPeriods")
    comparison = choice_of(raw, "ComparisonOperator")
    if comparison in BANDS or plain.get("ThresholdMetricId"):
        raise OpenAlarmError(_ANOMALY)
    if comparison not in COMPARISONS:
        raise WrongAlarmError(
            f"ComparisonOperator {comparison!r} is none of {', '.join((*COMPARISONS, *BANDS))}"
        )
    if plain.get("EvaluateLowSampleCountPercentile") == "ignore":
        raise OpenAlarmError("EvaluateLowSampleCountPercentile `ignore` depends on AWS's count of samples")
    needed = plain.get("DatapointsToAlarm")
    watched = _maths(raw, names) if plain.get("Metrics") else _single(raw, names)
    if problem := wrong_period(watched["period"]):
        raise WrongAlarmError(f"Period {problem}")
    if why := looks_back_too_far(watched["period"], periods):
        raise WrongAlarmError(f"EvaluationPeriods: {why}")
    missing = choice_of(raw, "TreatMissingData", "missing")
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
        actions=actions_of(raw),
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
    returned = [str(query.get("Id")) for query in queries if flag(query.get("ReturnData", True))]
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
            of_query = {key: stat.get(key) for key in ("Stat", "Unit", "Period")}
            metrics[name] = _stat({**metric, **of_query}, names)
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
    """Read a mapping with Namespace, MetricName, Dimensions, Stat, Unit and Period."""
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
    unit = metric.get("Unit")
    if unit not in (None, "Count") and namespace.startswith("AWS/"):
        raise OpenAlarmError(
            f"reads data points of {name} with unit {unit} alone, and AWS publishes them as Count: it gets "
            "no data; leave Unit out"
        )
    period_s = as_number(metric.get("Period"), "Period")
    if period_s < AWS_PERIOD_S and namespace.startswith("AWS/"):
        raise OpenAlarmError(
            f"looks at {name} every {period_s:g} s, and AWS publishes it once a minute: most periods have no "
            "data; a Period of 60 can be replayed"
        )
    return found


def _dimensions(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): str(value) for name, value in given.items()}
    if not isinstance(given, list) or not all(isinstance(item, Mapping) and "Name" in item for item in given):
        raise WrongAlarmError("Dimensions must be a list of Name and Value")
    return {str(item["Name"]): str(item.get("Value")) for item in given}


def _rule(raw: RawAlarm) -> str:
    plain = raw.plain
    what = plain.get("MetricName") or "metric maths"
    return f"{what} {plain.get('ComparisonOperator')} {plain.get('Threshold')}"
