"""Whether an event loop stands still: the loop of asyncio that serves requests, or gevent's.

A loop is looked at ten times a second. It waits for events, or it runs one callback, and then nothing else
runs. Who calls a driver that blocks, sleeps, or computes in there is seen at that line.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118, PTH123

from __future__ import annotations

import _thread
import os
import sys
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

from .book import monotonic
from .call_sites import FRAMEWORK, Classifier, Site
from .owners import TASK
from .standing import DRIVER, QUEUE, Reader

if TYPE_CHECKING:
    from types import FrameType

    from .book import Hold
    from .catalog import Catalog
    from .journal import Record

_MAIN_THREAD = _thread.get_ident()  # as the process starts; gevent gives it another number later
MANY_OWNERS = 3  # tasks that took a connection in one loop: it runs more than a single job
WAITS, COMPUTES = "waits", "computes"
BUSY_SHARE = 0.8  # of the time between two looks that its thread had a CPU, or wanted one: it computes
IDLE_SHARE = 0.3  # up to this: it waits
MAX_LOOPS = 4
_MAX_FRAMES = 400
_SELECTS = ("selectors.py", os.path.join("asyncio", "base_events.py"), os.path.join("asyncio", "runners.py"))
_LOOP_FILES = (os.path.join("asyncio", "base_events.py"), os.path.join("asyncio", "runners.py"))
_HUBS = (f"{os.sep}gevent{os.sep}", f"{os.sep}eventlet{os.sep}", f"{os.sep}uvloop{os.sep}")
_HANDLES = os.path.join("asyncio", "events.py")
_OUTERMOST = frozenset({"<module>", "_bootstrap", "_run_module_as_main"})  # functions in which threads begin
_COROUTINE = 0x80 | 0x100 | 0x200  # inspect.CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR
_JOBS = os.path.join("concurrent", "futures", "thread.py")


class _Loop:
    """One thread that runs an event loop; counts since the last call of `take`."""

    __slots__ = ("blocked", "cpu_s", "last", "longest_s", "looks", "since_s", "sites", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.cpu_s: tuple[float, float] | None = None  # at, CPU seconds of its thread
        self.last: tuple[int, Site | None] | None = None  # the look before: what ran, and its line
        self.since_s = 0.0  # since when it has been seen in that
        self.forget()

    def forget(self) -> None:
        self.looks = 0
        self.longest_s = 0.0
        self.blocked: Counter[str] = Counter()
        self.sites: Counter[tuple[str, int, str]] = Counter()


class LoopWatch:
    """Finds the loops of this process, and looks at their threads."""

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
        """The threads to look at."""
        for thread in list(self._serving):
            self._add(thread)
        gevent = thread_of_gevent()
        if gevent is not None:
            self._add(gevent)
        return list(self._loops)

    def look(self, frames: dict[int, FrameType]) -> None:
        """One look at each; `frames` are those of all threads."""
        for thread, loop in list(self._loops.items()):
            frame = frames.get(thread)
            if frame is None:
                del self._loops[thread]  # the thread has ended; its number may be used again
                self._serving.discard(thread)
                self._owners.pop(thread, None)
                continue
            self._look_at(loop, _stack(frame))

    def _look_at(self, loop: _Loop, stack: list[FrameType]) -> None:
        now = monotonic()
        share = _cpu_share(loop, now)
        if not self._serves_others(stack):
            loop.last = None
            return
        loop.looks += 1
        gevent = thread_of_gevent() == loop.thread
        detached = not gevent and _is_detached(stack)
        if _waits_for_events(stack) or not (gevent or detached or _in_callback(stack)):
            loop.last = None
            return
        standing = self._reader.read(stack)
        runs = (id(stack[0].f_code), standing.site) if standing.site is None else (0, standing.site)
        again = loop.last is not None and _same(loop.last, runs)
        if not again:
            loop.since_s = now
        loop.last = runs
        in_driver = standing.what in (DRIVER, QUEUE) and not standing.yields and not detached
        what = DRIVER if in_driver else _blocked_by(detached, again, share)
        if what is None or (what == COMPUTES and standing.site is None):
            return
        loop.blocked[what] += 1
        loop.longest_s = max(loop.longest_s, now - loop.since_s)
        if standing.site is not None:
            loop.sites[standing.site.file, standing.site.line, standing.site.function] += 1

    def _serves_others(self, stack: list[FrameType]) -> bool:
        """A loop that runs inside of one request or job, as `async_to_sync` makes it, holds up nobody."""
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
        """What was seen since the last call, of all loops together."""
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
    """Whether two looks in a row found the loop at the same line."""
    one, other = before[1], now[1]
    if one is None or other is None:
        return one is other and before[0] == now[0]
    return (one.file, one.line) == (other.file, other.line)


def _blocked_by(detached: bool, again: bool, share: float | None) -> str | None:
    """What keeps the loop from its other work; None where it is at work as it should be, or cannot be told.

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
    return file.endswith(_SELECTS) or any(mark in file for mark in _HUBS)


def _in_callback(stack: list[FrameType]) -> bool:
    """Whether asyncio's loop, or another that is written in C, has called something."""
    return any(
        frame.f_code.co_flags & _COROUTINE or frame.f_code.co_filename.endswith(_HANDLES) for frame in stack
    )


def _is_detached(stack: list[FrameType]) -> bool:
    """Whether it is the stack of a greenlet, as under SQLAlchemy's asyncio, and not of the thread itself."""
    return stack[-1].f_code.co_name not in _OUTERMOST


def _cpu_share(loop: _Loop, now: float) -> float | None:
    """How much of the time since the last look its thread had a CPU; None where that cannot be read."""
    used_s = _cpu_s(loop.thread)
    if used_s is None:
        loop.cpu_s = None
        return None
    before, loop.cpu_s = loop.cpu_s, (now, used_s)
    if before is None or now <= before[0]:
        return None
    return (used_s - before[1]) / (now - before[0])


def _cpu_s(thread: int) -> float | None:
    """CPU seconds of a thread, and those for which it waited to get one, as Linux counts them."""
    active = getattr(sys.modules.get("threading"), "_active", {}).get(thread)
    native = os.getpid() if thread == _MAIN_THREAD else getattr(active, "_native_id", None)
    if not isinstance(native, int):
        return None
    try:
        with open(f"/proc/self/task/{native}/schedstat", encoding="ascii") as file:
            had_ns, wanted_ns, *_ = file.read().split()
        return (int(had_ns) + int(wanted_ns)) / 1e9
    except (OSError, ValueError):
        return None


def thread_of_gevent() -> int | None:
    """The thread in which gevent runs every request, where gevent patched this process; else None."""
    monkey = sys.modules.get("gevent.monkey")
    return _MAIN_THREAD if getattr(monkey, "saved", None) else None
