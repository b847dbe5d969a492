"""What every alarm system does: notifications, stretches in alarm, silence (pure)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rushhour.alarms.timeline import Timeline


class Kind(StrEnum):
    """The kind of a notification."""

    ALARM = "alarm"  # a page: it goes off
    REPEAT = "repeat"  # a page: it still does
    RESOLVED = "resolved"
    NO_DATA = "no data"


PAGES = frozenset({Kind.ALARM, Kind.REPEAT})


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification, `t_s` seconds into the timeline."""

    t_s: float
    kind: Kind
    to: tuple[str, ...] = ()
    alert: str = ""  # which of a policy's alerts, where it has several


@dataclass(frozen=True, slots=True)
class Replay:
    """What a policy did over a timeline; `firing` are the stretches in alarm, in seconds.

    `unknown` says why it could not be replayed: a program that it needs is missing or refuses.
    `partly` says what of it could not be replayed: its pages stand, and its silence is unknown.
    """

    notifications: tuple[Notification, ...]
    firing: tuple[tuple[float, float], ...]
    unknown: str = ""
    partly: str = ""


class Policy(Protocol):
    """An alarm of any system."""

    @property
    def name(self) -> str: ...

    @property
    def system(self) -> str: ...

    @property
    def rule(self) -> str:
        """Its rule in a line of words."""
        ...

    @property
    def settles_s(self) -> float:
        """How long after a moment it may still speak of it: windows and waits together."""
        ...

    def replay(self, timeline: Timeline) -> Replay: ...


class Firing:
    """Collects the stretches in alarm while a policy is replayed."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._done: list[tuple[float, float]] = []

    def at(self, t_s: float, firing: bool) -> None:
        if firing and self._since is None:
            self._since = t_s
        elif not firing and self._since is not None:
            self._done.append((self._since, t_s))
            self._since = None

    def ended(self, t_s: float) -> tuple[tuple[float, float], ...]:
        """Return all of them, the last one cut at the timeline's end."""
        self.at(t_s, firing=False)
        return tuple(self._done)
