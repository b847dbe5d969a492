"""What stands in for the pool, and a thread that runs a loop step by step, for tests of rounds."""

import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from sqlalchemy.orm import Session

from rushhour.agent.book import Hold
from rushhour.agent.call_sites import Classifier, Site, Stack
from rushhour.agent.frames import stack_of
from rushhour.agent.owners import owner_finder
from rushhour.agent.units import Units
from rushhour.process.waiting import came_true

DEADLINE_S = 10
Take = Callable[[], Session]
ALL_KEPT: list[Session] = []  # by nobody who would use them again


class Taking:
    """Stands in for the pool: what is called by the loop, and the holds that it made."""

    def __init__(self) -> None:
        self.holds: list[Hold] = []
        self._stacks: dict[object, Stack] = {}  # one for each place, as in the agent
        self._owner_of = owner_finder()
        self.units = Units(Classifier())

    def __call__(self) -> Session:
        frames = stack_of(sys._getframe(1))[:3]
        hold = Hold()
        hold.owner, hold.taken = self._owner_of(), float(len(self.holds))
        hold.used = hold.taken
        hold.request = hold.lost = hold.others = hold.scoped = hold.returned = None
        codes, lines = tuple(frame.f_code for frame in frames), tuple(frame.f_lineno for frame in frames)
        sites = (Site(code.co_filename, line, code.co_name) for code, line in zip(codes, lines, strict=True))
        offsets = tuple(frame.f_lasti for frame in frames)
        hold.stack = self._stacks.setdefault((codes, lines), Stack(tuple(sites), codes, offsets))
        self.holds.append(hold)
        ALL_KEPT.append(Session())
        return ALL_KEPT[-1]

    def lost(self, now: float = 9.0) -> list[str | None]:
        self.units.look(self.holds, now)
        return [hold.lost for hold in self.holds]


class Items(queue.Queue[int]):
    """A queue that ends the thread which takes an item from it, once there are no more."""

    over = False

    def _get(self) -> int:
        if self.over:
            raise SystemExit
        return super()._get()


class Loop:
    """A thread that runs a loop, and waits for its next item after each step."""

    all: ClassVar[list["Loop"]] = []

    def __init__(self, work: Any) -> None:
        self.items, self.taking = Items(), Taking()
        self.thread = threading.Thread(target=self.run, args=(work,), daemon=True)
        self.thread.start()
        self.all.append(self)

    def run(self, work: Any) -> None:
        with suppress(SystemExit):
            work(self.items, self.taking)

    def end(self) -> None:
        self.items.over = True
        self.items.put(1)
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()

    def step(self, item: int = 1) -> None:
        self.items.put(item)
        assert came_true(self.waits, DEADLINE_S, poll_s=0.01)

    def waits(self) -> bool:
        """Whether it has taken all items and waits for more: the lock is free, and it sleeps."""
        frame = sys._current_frames().get(self.thread.ident or 0)
        return (
            not self.items.queue
            and bool(self.items.not_empty._waiters)  # type: ignore[attr-defined]  # not in its stubs
            and not self.items.mutex.locked()
            and frame is not None
            and frame.f_code is threading.Condition.wait.__code__
        )
