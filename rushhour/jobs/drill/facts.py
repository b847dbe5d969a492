"""What a drill saw and found, as drill.json holds it (pure)."""

from dataclasses import dataclass
from typing import Final, Literal

By = Literal["update", "rollback", "stack-deploy"]
BYS: Final[tuple[By, ...]] = ("update", "rollback", "stack-deploy")
HEALTHY: Final = "HTTP 200"  # of its health path
ALIVE: Final = "SELECT 1"  # a database's
Outcome = Literal["proven", "not proven", "unknown"]


@dataclass(frozen=True, slots=True)
class Instance:
    """One running task of a service; on the embedded stack, one process."""

    task: str
    container: str  # container id; embedded: the process's pid
    started_at: str
    image: str  # image id; embedded: the release
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service at one moment. `version` moves on every write of its definition, `spec` if that differs."""

    name: str
    id: str
    version: int
    spec: str  # a hash
    image: str  # as the definition names it
    instances: tuple[Instance, ...]
    answer: str | None = None  # to one request; None: no answer
    means: str | None = None  # the image id that `image` meant at this moment; None: not known here

    @property
    def reached(self) -> bool:
        """Whether it answered as a healthy one does."""
        return self.answer in (HEALTHY, ALIVE)

    @property
    def mutable(self) -> bool:
        """Whether its definition names a tag that may come to mean another image."""
        return not (self.image.startswith("sha256:") or "@sha256:" in self.image)

    @property
    def moved(self) -> bool:
        """Whether its tag means another image by now than the one that it runs."""
        return (
            self.mutable and self.means is not None and any(one.image != self.means for one in self.instances)
        )


@dataclass(frozen=True, slots=True)
class Rollout:
    """How the change went. Times are seconds since the run's anchor."""

    by: By
    command: str  # what somebody at a terminal would have typed
    pinned: str  # what the new image was pinned by
    began_s: float
    ended_s: float
    state: str  # "completed", "rolled back" or "stuck"
    detail: str = ""


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
