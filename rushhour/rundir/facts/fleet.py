"""Facts about the services of a fleet before and after a change, and about the rollout."""

from dataclasses import dataclass
from typing import Final, Literal

By = Literal["update", "rollback", "stack-deploy"]
BYS: Final[tuple[By, ...]] = ("update", "rollback", "stack-deploy")
HEALTHY: Final = "HTTP 200"  # the answer of a healthy service's health path
ALIVE: Final = "SELECT 1"  # the answer of a healthy database
When = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Instance:
    """A running task of a service; on the embedded stack, a process."""

    task: str
    container: str  # container id; embedded: the process's pid
    started_at: str
    image: str  # image id; embedded: the release
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The state of a service. `version` changes on every update, `spec` only if the definition differs."""

    name: str
    id: str
    version: int
    spec: str  # hash of the definition
    image: str  # as named in the definition
    instances: tuple[Instance, ...]
    answer: str | None = None  # the answer to a request; None: no answer
    means: str | None = None  # the image id that `image` resolved to; None: unknown

    @property
    def reached(self) -> bool:
        """Whether it answered like a healthy service."""
        return self.answer in (HEALTHY, ALIVE)

    @property
    def mutable(self) -> bool:
        """Whether its definition names a tag that could be moved to another image."""
        return not (self.image.startswith("sha256:") or "@sha256:" in self.image)

    @property
    def moved(self) -> bool:
        """Whether its tag has been moved to another image than the running image."""
        return (
            self.mutable
            and self.means is not None
            and any(instance.image != self.means for instance in self.instances)
        )


@dataclass(frozen=True, slots=True)
class Rollout:
    """The course of a rollout. Times are seconds since the run's anchor."""

    by: By
    command: str  # the equivalent shell command
    pinned: str  # how the new image was pinned
    began_s: float
    ended_s: float
    state: str  # "completed", "rolled back" or "stuck"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """services.jsonl: a service of the fleet before or after the change; `t_s` is the time of the check."""

    t_s: float
    when: When
    state: ServiceState
