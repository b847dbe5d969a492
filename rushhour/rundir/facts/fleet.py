"""Services of a fleet before and after one of them was changed, and how the change went."""

from dataclasses import dataclass
from typing import Final, Literal

By = Literal["update", "rollback", "stack-deploy"]
BYS: Final[tuple[By, ...]] = ("update", "rollback", "stack-deploy")
HEALTHY: Final = "HTTP 200"  # of its health path
ALIVE: Final = "SELECT 1"  # a database's
When = Literal["before", "after"]


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
            self.mutable
            and self.means is not None
            and any(instance.image != self.means for instance in self.instances)
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
class ServiceSeen:
    """services.jsonl: a service of the fleet, before or after the change. `t_s` is when all were asked."""

    t_s: float
    when: When
    state: ServiceState
