"""Which of a team's series stands for which of ours: common ones ship, a `names:` file adds others (pure)."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Annotated, Any, Final, get_args

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from rushhour.alarms.points import Gaps, MetricStat, Samples
from rushhour.alarms.prom_series import Source
from rushhour.alarms.timeline import METRICS, Metric
from rushhour.scenario.durations import FROM_YAML
from rushhour.scenario.model import STRICT
from rushhour.scenario.yaml_node import Node


@dataclass(frozen=True, slots=True, config=STRICT)
class StandsFor:
    """What a series stands for, and how its system reports it; see `MetricStat` for the keys."""

    metric: Source
    gaps: Gaps = "zero"
    samples: Samples = "seconds"
    times: float = 1.0
    part_of: Metric | None = None


def _short(value: Any) -> Any:
    return {"metric": value} if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, config=STRICT)
class Names:
    """`names` by series: `Namespace/MetricName` of CloudWatch, a metric with or without labels of Prometheus.

    `labels` are those that this service's series carry, where a team's rules name several services.
    """

    names: dict[str, Annotated[StandsFor, BeforeValidator(_short)]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    capacity: Annotated[int, Field(ge=1)] | None = None
    place: str = "a file with `names:`, beside the alarms"

    def over(self, other: "Names") -> "Names":
        """Merge two files of names; the second counts."""
        return replace(
            self,
            names=other.names | self.names,
            labels=other.labels | self.labels,
            capacity=self.capacity or other.capacity,
        )


_ADAPTER: Final[TypeAdapter[Names]] = TypeAdapter(Names)

_COUNT: Final = {"gaps": "missing", "samples": "events"}  # only where it is not zero; each event is a 1
_SHIPPED: Final[dict[str, dict[str, Any]]] = {
    "AWS/ApplicationELB/HTTPCode_Target_5XX_Count": {"metric": "http_5xx", **_COUNT},
    "AWS/ApplicationELB/RequestCount": {"metric": "requests", **_COUNT},
    "AWS/ELB/HTTPCode_Backend_5XX": {"metric": "http_5xx", **_COUNT},
    "AWS/ELB/RequestCount": {"metric": "requests", **_COUNT},
    "AWS/ApiGateway/5XXError": {"metric": "http_5xx", "part_of": "requests"},
    "AWS/ApiGateway/5xx": {"metric": "http_5xx", "part_of": "requests"},
    "AWS/ApiGateway/Count": {"metric": "requests", **_COUNT},
    "AWS/CloudFront/5xxErrorRate": {"metric": "http_5xx", "part_of": "requests", "times": 100.0},
    "AWS/CloudFront/Requests": {"metric": "requests", **_COUNT},
    "AWS/AppRunner/5xxStatusResponses": {"metric": "http_5xx", **_COUNT},
    "AWS/AppRunner/Requests": {"metric": "requests", **_COUNT},
    "AWS/ElasticBeanstalk/ApplicationRequests5xx": {"metric": "http_5xx"},
    "AWS/ElasticBeanstalk/ApplicationRequestsTotal": {"metric": "requests"},
}
CLOUDWATCH: Final = {name: StandsFor(**given) for name, given in _SHIPPED.items()}

# Dimensions that name the service as a whole; any other one parts its traffic.
WHOLE: Final = frozenset(
    {
        *("LoadBalancer", "LoadBalancerName", "TargetGroup", "ApiName", "ApiId", "Stage", "DistributionId"),
        *("Region", "ServiceName", "ServiceID", "ServiceId", "EnvironmentName", "ClusterName", "Service"),
    }
)


def read_names(node: Node, path: str) -> tuple[Names, list[str]]:
    """Return a file's `names:`, `labels:` and `capacity:`, and its problems with their lines."""
    try:
        names = _ADAPTER.validate_json(json.dumps(node.plain), context=FROM_YAML)
    except ValidationError as error:
        return Names(), [
            f"{path}:{node.line(item['loc'])}: {'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors()
        ]
    return replace(names, place=path), []


def merged(found: Iterable[Names]) -> Names:
    """Merge files of names; a later file counts."""
    whole = Names()
    for names in found:
        whole = names.over(whole)
    return whole


def cloudwatch_stat(
    namespace: str, metric: str, dimensions: Mapping[str, str], statistic: str, names: Names
) -> MetricStat | str:
    """Return the statistic of ours, or why there is none."""
    key = f"{namespace}/{metric}"
    given = names.names.get(key) or names.names.get(metric)
    stands = given or CLOUDWATCH.get(key)
    if stands is None:
        return (
            f"reads {key}, which nothing here stands for; map it in {names.place}: `names: {{ {key}: ... }}`"
        )
    if stands.metric not in get_args(Metric):
        return f"reads {key}, and {stands.metric} is of Prometheus alone; known: {', '.join(METRICS)}"
    parts = [name for name in dimensions if name not in WHOLE]
    if parts and given is None and namespace.startswith("AWS/"):
        return (
            f"reads {key} by {', '.join(parts)}, a part of what the timeline has as a whole; if that is the "
            f"service, map it in {names.place}: `names: {{ {key}: {stands.metric} }}`"
        )
    return MetricStat(
        stands.metric,  # type: ignore[arg-type]  # checked above
        statistic,
        stands.gaps,
        stands.samples,
        stands.times,
        stands.part_of,
    )
