"""Events of a run, and notifications of a real Alertmanager."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class NotifiedAlert:
    """An alert of a notification."""

    status: str  # "firing" | "resolved"
    labels: Mapping[str, str]
    starts_at: str
    ends_at: str


@dataclass(frozen=True, slots=True)
class Notification:
    """notifications.jsonl: a notification of a real Alertmanager, as received by the webhook.

    `monotonic_s` is the machine's clock; the event `anchor` holds the same clock at the run's time 0.
    """

    at: str  # ISO 8601, UTC
    monotonic_s: float
    policy: str  # the policy whose receiver got it
    status: str  # "firing": at least one of its alerts is
    group: Mapping[str, str]
    alerts: tuple[NotifiedAlert, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """events.jsonl: an event. Its names are the constants below; `detail` holds numbers and text."""

    t_s: float
    name: str
    detail: Mapping[str, Any] = field(default_factory=dict)


# Names of events. A run that was cut short lacks RUN_ENDED.
ANCHOR = "anchor"  # detail: wall_s, monotonic_s
STACK_UP = "stack_up"  # detail: seconds
LOAD_STARTED = "load_started"
WARMUP_ENDED = "warmup_ended"
LOAD_ENDED = "load_ended"  # the customers were stopped; detail: exit_code of Locust
DRAINED = "drained"  # the end of the drain, in which the pools are observed after the load
RUN_ENDED = "run_ended"
POOL_FULL = "pool_full"  # detail: pool, pid, checked_out, capacity, leaked
FIRST_TIMEOUT = "first_timeout"  # detail: pool, pid, endpoint
LEAK_DETECTED = "leak_detected"  # detail: pool, pid, site, endpoint, leaked (live detection by the harness)
SATURATION_DETECTED = "saturation_detected"  # detail: pool, pid, waiting, checked_out, capacity, queued_s
LOCUSTFILE_ERROR = "locustfile_error"  # detail: worker, error (its type), message, where, count
WORKER_LOST = "worker_lost"  # of Locust; detail: worker, users
FAULT = "fault"  # a fault of the scenario was applied to a server; detail: server, do
LOG_ERRORS = "log_errors"  # detail: source, queuepool_timeouts, errors and kinds (within the last second)
COLLECTED = "collected"  # the harness asked the service to collect its garbage; detail: asked, answered
STOPPED = "stopped"  # the user ended the load early; detail: planned_s, lasted_s
HOTFIX_BEGAN = "hotfix_began"  # the hotfix command of a drill was started
HOTFIX_ENDED = "hotfix_ended"  # detail: state ("completed", "rolled back", "stuck")
DRILL = "drill"  # the plan of a drill; detail: target, by, hotfix
ROLLOUT = "rollout"  # the course of a drill's rollout; detail: the fields of Rollout
DRILL_ENDED = "drill_ended"  # every service was checked again, and the load was stopped
ALERTING_UP = "alerting_up"  # a real Prometheus scrapes; detail: policies and pools (each a mapping), images
ALERTING_ENDED = "alerting_ended"  # its final state; detail: targets, rules, metrics, lost
INTERRUPTED = "interrupted"  # detail: signal
STACK_BROKE = (
    "stack_broke"  # detail: what, log_tail; if the service ended: part ("service"), how ("exit code 9")
)
OBSERVER_FAULT = "observer_fault"  # detail: observer, error
