"""Moments of a run: its events, and what a real Alertmanager told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ToldAlert:
    """One alert of a notification."""

    status: str  # "firing" | "resolved"
    labels: Mapping[str, str]
    starts_at: str
    ends_at: str


@dataclass(frozen=True, slots=True)
class Told:
    """notifications.jsonl: what a real Alertmanager told, as its webhook got it.

    `monotonic_s` is the machine's clock; the event `anchor` holds the same clock at the run's time 0.
    """

    at: str  # ISO 8601, UTC
    monotonic_s: float
    policy: str  # whose receiver it came to
    status: str  # "firing": at least one of its alerts is
    group: Mapping[str, str]
    alerts: tuple[ToldAlert, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """events.jsonl: a moment. Names in use are the constants below; `detail` holds numbers and text."""

    t_s: float
    name: str
    detail: Mapping[str, Any] = field(default_factory=dict)


# Names of events. A run that was cut short lacks RUN_ENDED.
ANCHOR = "anchor"  # detail: wall_s, monotonic_s
STACK_UP = "stack_up"  # detail: seconds
LOAD_STARTED = "load_started"
WARMUP_ENDED = "warmup_ended"
LOAD_ENDED = "load_ended"  # customers were told to stop; detail: exit_code of Locust
DRAINED = "drained"  # end of the watch over what is still held after the load
RUN_ENDED = "run_ended"
POOL_FULL = "pool_full"  # detail: pool, pid, checked_out, capacity, leaked
FIRST_TIMEOUT = "first_timeout"  # detail: pool, pid, endpoint
LEAK_DETECTED = "leak_detected"  # detail: pool, pid, site, endpoint, leaked (live detection by the harness)
SATURATION_DETECTED = "saturation_detected"  # detail: pool, pid, waiting, checked_out, capacity, queued_s
LOCUSTFILE_ERROR = "locustfile_error"  # detail: worker, error (its type), message, where, count
WORKER_LOST = "worker_lost"  # of Locust; detail: worker, users
FAULT = "fault"  # done to a server, as the scenario asks; detail: server, do
LOG_ERRORS = "log_errors"  # detail: source, queuepool_timeouts, errors and kinds (within the last second)
COLLECTED = "collected"  # the harness asked the service to collect its garbage; detail: asked, answered
STOPPED = "stopped"  # somebody ended the load before its time, as its user may; detail: planned_s, lasted_s
HOTFIX_BEGAN = "hotfix_began"  # of a drill: the command was given
HOTFIX_ENDED = "hotfix_ended"  # detail: state ("completed", "rolled back", "stuck")
DRILL = "drill"  # what a drill is about to do; detail: target, by, hotfix
ROLLOUT = "rollout"  # how its change went; detail: the fields of Rollout
DRILL_ENDED = "drill_ended"  # every service was seen again, and the load was told to stop
ALERTING_UP = "alerting_up"  # a real Prometheus scrapes; detail: policies and pools (each a mapping), images
ALERTING_ENDED = "alerting_ended"  # what it knew then; detail: targets, rules, metrics, lost
INTERRUPTED = "interrupted"  # detail: signal
STACK_BROKE = (
    "stack_broke"  # detail: what, log_tail; if the service ended: part ("service"), how ("exit code 9")
)
OBSERVER_FAULT = "observer_fault"  # detail: observer, error
