"""An alarm that is known by name and cannot be replayed: it is unknown, never silent (pure)."""

from dataclasses import dataclass

from rushhour.alarms.events import Replay
from rushhour.alarms.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Unreplayed:
    """`why` says what is missing, or what the replay does not have."""

    name: str
    system: str
    rule: str
    why: str

    @property
    def settles_s(self) -> float:
        return 0.0

    def replay(self, timeline: Timeline) -> Replay:  # noqa: ARG002 - whatever happened
        return Replay((), (), unknown=self.why)
