"""Detects blocked event loops: asyncio loops that serve requests, and those of gevent and eventlet.

A loop is inspected ten times a second. It either waits for events, or runs a callback, during which nothing
else runs. A callback that calls a blocking driver, sleeps or computes is seen at its line.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

from .book import monotonic
from .call_sites import FRAMEWORK, Classifier, Site, is_of
from .cpu_shares import MAIN_THREAD, CpuShare
from .frames import COROUTINE
from .green import replaces_threads
from .owners import TASK
from .standing import DRIVER, ELSEWHERE, QUEUE, Reader

if TYPE_CHECKING:
    from types import FrameType

    from .book import Hold
    from .catalog import Catalog
    from .journal import Record

MANY_OWNERS = 3  # tasks that took a connection in one loop: it runs more than a single job
WAITS, COMPUTES = "waits", "computes"
BUSY_SHARE = 0.8  # of the time between two looks that its thread had a CPU, or wanted one: it computes
IDLE_SHARE = 0.3  # up to this: it waits
MAX_LOOPS = 4
_MAX_FRAMES = 400
_SELECTS = ("selectors.py", os.path.join("asyncio", "base_events.py"), os.path.join("asyncio", "runners.py"))
_LOOP_FILES = (os.path.join("asyncio", "base_events.py"), os.path.join("asyncio", "runners.py"))
_HUBS = ("gevent", "eventlet", "uvloop")
_GREEN_SERVERS = (os.path.join("gevent", "pywsgi.py"), os.path.join("eventlet", "wsgi.py"))
_HANDLES = os.path.join("asyncio", "events.py")
_OUTERMOST = frozenset({"<module>", "_bootstrap", "_run_module_as_main"})  # functions in which threads begin
_JOBS = os.path.join("concurrent", "futures", "thread.py")


class _Loop:
    """A thread that runs an event loop, with its counts since the last call of `take`."""

    __slots__ = ("blocked", "cpu", "last", "longest_s", "looks", "since_s", "sites", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.cpu = CpuShare(thread)
        self.last: tuple[int, Site | None] | None = None  # the look before: what ran, and its line
        self.since_s = 0.0  # since when it has been seen in that
        self.forget()

    def forget(self) -> None:
        self.looks = 0
        self.longest_s = 0.0
        self.blocked: Counter[str] = Counter()
        self.sites: Counter[tuple[str, int, str]] = Counter()


class LoopWatch:
    """Finds the event loops of this process, and inspects their threads."""

    def __init__(self, classifier: Classifier, reader: Reader, serving: set[int]) -> None:
        self._classifier = classifier
        self._reader = reader
        self._serving = serving  # threads whose loop has served a request: a framework's patch knows
        self._owners: dict[int, weakref.WeakSet[Any]] = {}  # thread -> tasks that took a connection there
        self._loops: dict[int, _Loop] = {}

    def know(self, hold: Hold) -> None:
        """A hold that is out: the thread of a task that took it runs a loop."""
        owner = hold.owner
        if owner.kind != TASK or owner.thread in self._loops:
            return
        owners = self._owners.get(owner.thread) or self._owners.setdefault(owner.thread, weakref.WeakSet())
        owners.add(owner)
        if len(owners) >= MANY_OWNERS:
            self._add(owner.thread)

    def _add(self, thread: int) -> None:
        if thread not in self._loops and len(self._loops) < MAX_LOOPS:
            self._loops[thread] = _Loop(thread)

    def threads(self) -> list[int]:
        """Return the threads to inspect."""
        for thread in list(self._serving):
            self._add(thread)
        if replaces_threads():
            self._add(MAIN_THREAD)
        return list(self._loops)

    def read_clocks(self) -> bool:
        """Read the CPU time of each loop's thread; return whether there is one.

        That is a system call, so this thread has its turn from the start afterwards.
        """
        for loop in self._loops.values():
            loop.cpu.read()
        return bool(self._loops)

    def close(self) -> None:
        """Close the files of all clocks."""
        for loop in self._loops.values():
            loop.cpu.close()

    def look(self, frames: dict[int, FrameType]) -> None:
        """Inspect each loop; `frames` are those of all threads."""
        for thread, loop in list(self._loops.items()):
            frame = frames.get(thread)
            if frame is None:
                loop.cpu.close()
                del self._loops[thread]  # the thread has ended; its number may be used again
                self._serving.discard(thread)
                self._owners.pop(thread, None)
                continue
            self._look_at(loop, _stack(frame))

    def _look_at(self, loop: _Loop, stack: list[FrameType]) -> None:
        now = monotonic()
        if not self._serves_others(stack):
            loop.last = None
            return
        loop.looks += 1
        green = (loop.thread == MAIN_THREAD and replaces_threads()) or _in_a_green_server(stack)
        detached = not green and _is_detached(stack)
        if _waits_for_events(stack) or not (green or detached or _in_callback(stack)):
            loop.last = None
            return
        standing = self._reader.read(stack)
        if standing.what == ELSEWHERE and standing.site is not None:
            detached = False  # the service's own code within SQLAlchemy's greenlet: it yields nowhere
        runs = (id(stack[0].f_code), standing.site) if standing.site is None else (0, standing.site)
        again = loop.last is not None and _same(loop.last, runs)
        if not again:
            loop.since_s = now
        loop.last = runs
        in_driver = standing.what in (DRIVER, QUEUE) and not standing.yields and not detached
        what = DRIVER if in_driver else _blocked_by(detached, again, loop.cpu.now)
        if what is None or (what == COMPUTES and standing.site is None):
            return
        loop.blocked[what] += 1
        loop.longest_s = max(loop.longest_s, now - loop.since_s)
        if standing.site is not None:
            loop.sites[standing.site.file, standing.site.line, standing.site.function] += 1

    def _serves_others(self, stack: list[FrameType]) -> bool:
        """Return whether the loop serves others: a loop inside of a request (`async_to_sync`) does not."""
        inside = False
        for frame in stack:
            file = frame.f_code.co_filename
            if file.endswith(_LOOP_FILES):
                inside = True
            elif inside and (
                file.endswith(_JOBS)
                or (
                    self._classifier.kind(file) == FRAMEWORK and not file.endswith(("threading.py", _HANDLES))
                )
            ):
                return False
        return True

    def take(self, at: float | None, catalog: Catalog) -> list[Record]:
        """Return the records since the last call, for all loops together."""
        loops = [loop for loop in self._loops.values() if loop.looks]
        if not loops:
            return []
        worst = max(loops, key=lambda loop: sum(loop.blocked.values()))
        site, there = next(iter(worst.sites.most_common(1)), (None, 0))
        record: Record = {
            "k": "loop",
            "t": at,
            "samples": worst.looks,
            "blocked": sum(worst.blocked.values()),
            "driver": worst.blocked[DRIVER],
            "waits": worst.blocked[WAITS],
            "computes": worst.blocked[COMPUTES],
            "there": there,
            "longest": round(worst.longest_s, 3),
            "at": None if site is None else catalog.line(Site(*site)),
        }
        for loop in loops:
            loop.forget()
        return [record]


def _same(before: tuple[int, Site | None], now: tuple[int, Site | None]) -> bool:
    """Return whether two consecutive inspections found the loop at the same line."""
    earlier, other = before[1], now[1]
    if earlier is None or other is None:
        return earlier is other and before[0] == now[0]
    return (earlier.file, earlier.line) == (other.file, other.line)


def _blocked_by(detached: bool, again: bool, share: float | None) -> str | None:
    """Return what blocks the loop; None if it works normally, or if that is unknown.

    `detached`: it runs in a greenlet of SQLAlchemy's, whose driver yields wherever it waits.
    """
    if share is None:
        return WAITS if again and not detached else None
    if share <= IDLE_SHARE:
        return None if detached else WAITS
    if detached or not again:
        return None
    return COMPUTES if share >= BUSY_SHARE else WAITS


def _stack(frame: FrameType | None) -> list[FrameType]:
    stack: list[FrameType] = []
    while frame is not None and len(stack) < _MAX_FRAMES:
        stack.append(frame)
        frame = frame.f_back
    return stack


def _waits_for_events(stack: list[FrameType]) -> bool:
    file = stack[0].f_code.co_filename
    return file.endswith(_SELECTS) or any(is_of(name, file) for name in _HUBS)


def _in_callback(stack: list[FrameType]) -> bool:
    """Whether asyncio's loop, or another that is written in C, has called something."""
    return any(
        frame.f_code.co_flags & COROUTINE or frame.f_code.co_filename.endswith(_HANDLES) for frame in stack
    )


def _is_detached(stack: list[FrameType]) -> bool:
    """Whether it is the stack of a greenlet, as under SQLAlchemy's asyncio, and not of the thread itself."""
    return stack[-1].f_code.co_name not in _OUTERMOST


def _in_a_green_server(stack: list[FrameType]) -> bool:
    """Whether the server of gevent or eventlet has called it: one thread runs all, without patches too."""
    return any(frame.f_code.co_filename.endswith(_GREEN_SERVERS) for frame in stack)
