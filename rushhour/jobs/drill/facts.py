"""What a drill found, as drill.json holds it (pure)."""

from dataclasses import dataclass
from typing import Final, Literal

from rushhour.rundir.facts import Rollout, ServiceState

Outcome = Literal["proven", "not proven", "unknown"]
VERDICT_OF: Final[dict[Outcome, Literal["pass", "fail", "unknown"]]] = {
    "proven": "pass",
    "not proven": "fail",
    "unknown": "unknown",
}


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one service: "untouched", "rewritten" (same tasks, newer version) or "restarted"."""

    name: str
    what: Literal["untouched", "rewritten", "restarted"]
    how: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds count from the command; None where it never came to that."""

    timeouts_before: int
    http_5xx_before: int
    last_timeout_s: float | None
    http_5xx_zero_s: float | None
    drained_s: float | None
    rollout_s: float
    requests_in_rollout: int
    lost_in_rollout: int  # answered by nobody: refused, cut, given up
    http_5xx_in_rollout: int
    quiet_s: float  # seconds with requests and without a 5xx at the end of the load
    requests_quiet: int
    silent_s: float  # seconds before the end of the load in which no request ended at all
    replica_cores_before: float | None
    replica_cores_after: float | None
    since_5xx_s: float | None = None  # from the last 5xx to the end of the load; None: there was none
    since_leak_s: float | None = None  # the same of the last sample with a leaked connection


@dataclass(frozen=True, slots=True)
class Drill:
    """drill.json: one way of bringing the hotfix, judged."""

    outcome: Outcome
    stack: str
    target: str
    release: str
    hotfix: str
    rollout: Rollout | None
    figures: Figures | None
    changes: tuple[Change, ...]  # the siblings
    target_change: Change | None
    mutable: tuple[str, ...]  # siblings whose tag may move under them
    reasons: tuple[str, ...]
    before: tuple[ServiceState, ...]
    after: tuple[ServiceState, ...]
    load: str = ""
    moved: tuple[str, ...] = ()  # of `mutable`: the tag has moved since they started
    lost: tuple[str, ...] = ()  # files of the run directory that are not as they were written
