"""Which of our figures a team's Prometheus series stand for, and with which labels (pure).

A counter of requests is parted by the labels of its status that the rules read, in the values that they read
(500, 5xx, SERVER_ERROR). Labels that name the service take the value that the rules ask for. A selector that
reads a part of what the timeline has as a whole, or what it does not have, stands for nothing.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rushhour.alarms.formats.names import Names
from rushhour.alarms.prom_series import Source
from rushhour.alarms.rules import ALERTS
from rushhour.alarms.selectors import Selector, selectors

_REQUESTS: Final = (
    *("http_requests_total", "http_server_requests_total", "http_server_requests_seconds_count"),
    *("http_request_duration_seconds_count", "http_server_request_duration_seconds_count"),
    *("http_server_duration_milliseconds_count", "flask_http_request_total", "starlette_requests_total"),
    *("flask_http_request_duration_seconds_count", "django_http_responses_total_by_status_total"),
    *("nginx_ingress_controller_requests", "nginx_vts_server_requests_total", "istio_requests_total"),
    *("traefik_service_requests_total", "traefik_entrypoint_requests_total", "kong_http_requests_total"),
    *("haproxy_backend_http_responses_total", "haproxy_frontend_http_responses_total"),
    *("haproxy_server_http_responses_total", "envoy_cluster_upstream_rq_xx", "caddy_http_requests_total"),
    *("caddy_http_request_duration_seconds_count", "envoy_cluster_upstream_rq"),
)
SHIPPED: Final[dict[str, Source]] = {
    **dict.fromkeys(_REQUESTS, "requests"),
    "http_requests_5xx_total": "http_5xx",
    "up": "up",
    "db_client_connection_timeouts_total": "queuepool_timeouts",
    "db_client_connection_pending_requests": "pool_waiters",
    "db_client_connection_count": "pool_used",
    "db_client_connection_max": "pool_max",
    "db_client_connections_timeouts_total": "queuepool_timeouts",
    "db_client_connections_pending_requests": "pool_waiters",
    "db_client_connections_usage": "pool_used",
    "db_client_connections_max": "pool_max",
    "hikaricp_connections_timeout_total": "queuepool_timeouts",
    "hikaricp_connections_pending": "pool_waiters",
    "hikaricp_connections_active": "pool_used",
    "hikaricp_connections_max": "pool_max",
}
BAD: Final = ("500", "501", "502", "503", "504")

# Per label of a status the spellings of a good answer, of the bad ones and of refusals; the first bad one is
# what is served, and refusals are among the good ones.
_Style = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
_CODES: Final = (("200",), BAD, ("400", "401", "403", "404", "409", "422", "429"))
_CLASSES: Final = (("2xx",), ("5xx",), ("4xx",))
STATUS: Final[dict[str, tuple[_Style, ...]]] = {
    **dict.fromkeys(
        (
            *("code", "status", "status_code", "http_status", "http_status_code", "response_code"),
            *("http_response_status_code", "http_code", "envoy_response_code"),
        ),
        (_CODES, _CLASSES),
    ),
    "envoy_response_code_class": ((("2",), ("5",), ("4",)),),
    "outcome": ((("SUCCESS",), ("SERVER_ERROR",), ("CLIENT_ERROR",)),),
    "status_class": (_CLASSES,),
}
_DEFAULT_STATUS: Final = {"envoy_cluster_upstream_rq_xx": "envoy_response_code_class"}
# Labels that name the service, or where it runs; any other one parts its traffic.
WHOLE: Final = frozenset(
    {
        *("job", "instance", "namespace", "exported_namespace", "kubernetes_namespace", "app", "application"),
        *("service", "exported_service", "service_name", "env", "environment", "stage", "cluster", "region"),
        *("pod", "container", "deployment", "ingress", "host", "server", "proxy", "backend", "frontend"),
        *(
            "team",
            "tenant",
            "project",
            "product",
            "component",
            "az",
            "zone",
            "datacenter",
            "dc",
            "prometheus",
        ),
        *(
            "destination_service",
            "destination_service_name",
            "destination_workload",
            "reporter",
            "project_id",
        ),
        *("envoy_cluster_name", "entrypoint", "controller_class", "destination_service_namespace"),
        *("pool", "pool_name", "db_client_connection_pool_name", "db_client_connections_pool_name"),
    }
)
_POOL_LABELS: Final = (
    "pool",
    "pool_name",
    "db_client_connection_pool_name",
    "db_client_connections_pool_name",
)
# Labels that part failures from all others, also where a rule excludes the healthy value.
_OF_FAILURES: Final = frozenset(
    {"exception", "error", "error_type", "result", "reason", "grpc_code", "grpc_status", "response_flags"}
)
_STATE_LABELS: Final = ("state", "db_client_connection_state", "db_client_connections_state")
_USUAL: Final = {"job": "service", "instance": "service:8000", **dict.fromkeys(_POOL_LABELS, "replica")}
_WORD: Final = re.compile(r"[\w./:-]+")


@dataclass(frozen=True, slots=True)
class Resolved:
    """`series` are full names with labels; `unknown` says of a selector why nothing stands for it."""

    series: Mapping[str, Source]
    unknown: Mapping[Selector, str]
    sources: Mapping[Selector, Source]
    supposed: Mapping[str, str]  # labels that routes ask for, and whose value no file says


def resolve(read: Iterable[Selector], names: Names, asked: frozenset[str] = frozenset()) -> Resolved:
    """Return series for all these selectors together; `asked` are labels that routes ask for."""
    user = _user_series(names)
    unknown: dict[Selector, str] = {}
    taken: dict[Selector, _Taken] = {}
    for selector in dict.fromkeys(read):
        if stands := _stands(selector, user):
            taken[selector] = stands
        elif selector.name not in ALERTS:
            what = selector.name or str(selector)
            unknown[selector] = (
                f"reads {what}, which nothing here stands for; map it in {names.place}: "
                f"`names: {{ {what}: ... }}`"
            )
    labels = _Labels(taken, names, asked)
    for selector, stands in taken.items():
        if why := labels.why_not(selector, stands.fixed):
            unknown[selector] = why
    known = {selector: stands for selector, stands in taken.items() if selector not in unknown}
    series: dict[str, Source] = {}
    for key in dict.fromkeys((selector.name, stands) for selector, stands in known.items()):
        own = [selector for selector, stands in known.items() if (selector.name, stands) == key]
        series |= labels.series(own, key[1])
    sources = {selector: stands.source for selector, stands in known.items()}
    supposed = {label: labels.identity(label) for label in asked if not labels.says(label)}
    return Resolved(series, unknown, sources, supposed)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a selector's metric stands for; `fixed` are the labels that a mapping of the team's names."""

    source: Source
    fixed: tuple[tuple[str, str], ...] = ()


def _user_series(names: Names) -> list[tuple[Selector, Source]]:
    found: list[tuple[Selector, Source]] = []
    for text, stands in names.names.items():
        try:
            read = selectors(text)
        except ValueError:
            continue  # a metric of CloudWatch
        found += [(selector, stands.metric) for selector in read]
    return sorted(found, key=lambda item: -len(item[0].matchers))


def _stands(selector: Selector, user: list[tuple[Selector, Source]]) -> _Taken | None:
    for mapped, source in user:
        fixed = {item.name: item.value for item in mapped.matchers}
        own = [item for item in selector.matchers if item.name in fixed]
        if (
            mapped.name == selector.name
            and len(own) >= len(fixed)
            and all(item.matches(fixed) for item in own)
        ):
            return _Taken(source, tuple(fixed.items()))
    return _Taken(SHIPPED[selector.name]) if selector.name in SHIPPED else None


class _Labels:
    """The labels that all selectors together ask for."""

    def __init__(self, read: Iterable[Selector], names: Names, routed: frozenset[str]) -> None:
        self._names = names
        self._more = sorted(routed | (WHOLE & names.labels.keys()))
        self._by_name: defaultdict[str, list[Selector]] = defaultdict(list)
        asked: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for selector in read:
            self._by_name[selector.name].append(selector)
            for item in selector.matchers:
                if item.name in WHOLE and item.op in ("=", "=~"):
                    asked[item.name] |= dict.fromkeys(_literals(item.op, item.value))
        self._asked = asked

    def identity(self, label: str) -> str:
        """Return the value of a label that names the service."""
        if label in self._names.labels:
            return self._names.labels[label]
        values = [value for value in self._asked.get(label, {}) if value]
        return values[0] if values else _USUAL.get(label, "service")

    def says(self, label: str) -> bool:
        """Return whether a file says the value of a label that names the service."""
        return label in self._names.labels or any(self._asked.get(label, {}))

    def why_not(self, selector: Selector, fixed: tuple[tuple[str, str], ...]) -> str:
        """Return why nothing stands for a known name; empty if something does."""
        for item in selector.matchers:
            if item.name in dict(fixed):
                continue
            value = self.identity(item.name)
            if item.name in WHOLE:
                if not item.matches({item.name: value}):
                    return (
                        f"reads {selector}, and here {item.name} is {value!r}; say which is this service in "
                        f"{self._names.place}: `labels: {{ {item.name}: ... }}`"
                    )
            elif item.name in STATUS:
                if self._style(selector.name, item.name) is None or not self._reads(selector, item.name):
                    return (
                        f"reads {selector}, a part of the answers that the timeline does not part: it "
                        "has those that are 5xx, and all others"
                    )
            elif item.name in _STATE_LABELS:
                if not item.matches({item.name: "used"}):
                    return f"reads {selector}; of a pool the timeline has the used connections alone"
            elif item.name in _OF_FAILURES or (item.name != "le" and not item.matches({})):
                return (
                    f"reads {selector}, a part by {item.name} of what the timeline has as a whole; if that "
                    f"is the service, map it in {self._names.place}: `names: {{ '{selector}': ... }}`"
                )
        return ""

    def series(self, own: list[Selector], stands: _Taken) -> dict[str, Source]:
        """Return the series of one metric."""
        name, fixed = own[0].name, dict(stands.fixed)
        labels = {label: self.identity(label) for label in ("job", "instance", *self._more)}
        status: list[str] = []
        for item in (item for selector in own for item in selector.matchers if item.name not in fixed):
            if item.name in WHOLE:
                labels[item.name] = self.identity(item.name)
            elif item.name in STATUS:
                status.append(item.name)
            elif item.name in _STATE_LABELS:
                labels[item.name] = "used"
        if name.startswith("db_client_"):
            many = "connections" if name.startswith("db_client_connections_") else "connection"
            label = f"db_client_{many}_pool_name"
            labels[label] = self.identity(label)
        labels |= fixed
        if stands.source != "requests" or any(label in fixed for label in STATUS):
            return {_spelled(name, labels): stands.source}
        if not status:
            status = [_DEFAULT_STATUS.get(name, "code")]
        good, bad = dict(labels), dict(labels)
        for label in status:
            style = self._style(name, label) or STATUS[label][0]
            good[label], bad[label] = style[0][0], style[1][0]
        return {_spelled(name, good): "http_ok", _spelled(name, bad): "http_5xx"}

    def _style(self, name: str, label: str) -> _Style | None:
        """Return the spelling of a status in which most selectors read something; None where none does."""
        styles = STATUS[label]
        best = max(styles, key=lambda style: self._readable(name, label, style))
        return best if self._readable(name, label, best) else None

    def _readable(self, name: str, label: str, style: _Style) -> int:
        return sum(_whole(selector, label, style) for selector in self._by_name[name])

    def _reads(self, selector: Selector, label: str) -> bool:
        style = self._style(selector.name, label)
        return style is not None and _whole(selector, label, style)


def _whole(selector: Selector, label: str, style: _Style) -> bool:
    """Whether it reads the good answers, all bad ones, or both; not some bad ones, and no refusals beside."""
    own = [item for item in selector.matchers if item.name == label]

    def hits(value: str) -> bool:
        return all(item.matches({label: value}) for item in own)

    good, bad = any(map(hits, style[0])), {hits(value) for value in style[1]}
    # `!~"2.."` is taken for failures: it names no refusal.
    named = any(item.op in ("=", "=~") for item in own)
    refusals = named and any(hits(value) for other in STATUS[label] for value in other[2])
    return len(bad) == 1 and (good or (True in bad and not refusals))


def _literals(op: str, value: str) -> list[str]:
    if op == "=":
        return [value]
    parts = value.strip("^$").removeprefix("(").removesuffix(")").split("|")
    return [part for part in parts if _WORD.fullmatch(part) and "." not in part]


def _spelled(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f"{label}={json.dumps(value)}" for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}"
