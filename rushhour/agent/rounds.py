"""Finds connections that an earlier round of a loop of the service's own has left out.

A thread, greenlet or task of the service's own may take its items from a queue, in a loop. No library says
when such an item is over, but the instructions do: where the loop waits for its next item, ahead of the line
from which it took a connection, it has gone round since. What it may yet use of an earlier round it keeps: in
a variable that it will read before it sets it anew, or anywhere else (a global variable, a block around the
loop). So nothing has leaked before a second round has taken another one at the same place, and nothing that a
later round uses.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
import sys
from itertools import islice
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from .book import GC
from .call_sites import APPLICATION, LIBRARY
from .calls import (
    called_at,
    comes_round,
    iterates,
    loops_around,
    methods_named,
    never_returns,
    variables_read,
)
from .coroutines import chain_of
from .frames import attributes_of, named_variables_of, stack_of
from .handed_on import NOT_NEAR, carries
from .owners import CALLBACKS, TASK, TIMERS, frame_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from .book import Hold
    from .call_sites import Classifier, Stack
    from .owners import Owner

    Place = tuple[FrameType, int]  # and the offset of the instruction

_SELECTS = ("selectors.py", os.path.join("asyncio", "base_events.py"), os.path.join("asyncio", "runners.py"))
MAX_LOOKS = 8  # owners whose stacks are looked at in a tick: of more each has its turn
_MAX_FRAMES = 40  # further in than the service's own
_ENDS = frozenset({"commit", "rollback", "close", "remove"})
_SQLALCHEMY = f"{os.sep}sqlalchemy{os.sep}"
_QUEUES = (
    f"{os.sep}queue.py",  # of the standard library, gevent and eventlet
    os.path.join("asyncio", "queues.py"),
)


class Rounds:
    """Looks at the owners of holds, tick by tick."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._since: dict[Hold, float] = {}  # -> when its owner was first seen to wait in a loop
        # Where a loop takes connections -> whether it is known to leave them out; False: it is known not to.
        self._places: WeakKeyDictionary[Owner, dict[Stack, bool]] = WeakKeyDictionary()
        self._left: set[Hold] = set()  # what was left, and no registry has
        self._turn = 0

    def left(
        self,
        holds: list[Hold],
        live: list[Hold],
        now: float,
        patience: Callable[[Hold], float],
        *,
        final: bool,
    ) -> dict[Hold, float]:
        """Return those of `holds` that an earlier round has left out, and since when.

        `live`: all that are out, in the order in which they were taken. `patience`: how long nothing is to
        have used one. `final`: nobody looks again.
        """
        self._learn_from_returned()
        self._left = {hold for hold in self._left if hold.returned is None}
        if not holds:
            self._since = {}
            return {}
        frames = sys._current_frames()
        newest = {(hold.owner, hold.stack): hold.taken for hold in live}
        found: dict[Hold, float] = {}
        since = {hold: self._since[hold] for hold in holds if hold in self._since}
        for hold in self._in_turn([hold for hold in holds if not hold.others], final):
            owner = hold.owner
            places: list[Place] = []
            outermost = True
            if owner.kind in (CALLBACKS, TIMERS):
                waits = is_between_callbacks(frames.get(owner.thread))
            else:
                places, outermost = self._waits_at(owner, frames)
                waits = any(frame.f_code in hold.stack.codes for frame, _ in places)
            if not waits:
                continue
            if hold.scoped:
                # Of a session that a registry keeps for its thread, a wait says nothing: it may be for the
                # results of others. One that was used in the next round was kept from one to the next, unless
                # these are the rounds of a single job, or of one that says itself when its session is over.
                if places and (
                    not (outermost and comes_back(hold, places))
                    or any(_gives_back(frame) for frame, _ in places)
                ):
                    continue
                since.setdefault(hold, now)
                if hold.used > since[hold]:
                    found[hold] = since[hold]
            elif owner.kind == CALLBACKS:
                continue  # of the objects that a loop calls back, as of its clients, each may have its own
            elif owner.kind == TIMERS or (now - hold.used >= patience(hold) and comes_back(hold, places)):
                since.setdefault(hold, now)
                if hold.used > since[hold]:
                    self.keeps(hold)
                elif self._leaves(hold, newest[owner, hold.stack]) and not any(
                    _keeps(frame, at) for frame, at in places
                ):
                    found[hold] = since[hold]
                    self._left.add(hold)
                    self._note(hold, leaves=True)
        frames.clear()
        self._since = since
        return found

    def was_left(self, hold: Hold) -> bool:
        """Whether it was found here to be left out, so that a later use contradicts that."""
        return hold in self._left

    def keeps(self, hold: Hold) -> None:
        """Remember that what is taken at this place is used, or given back, in later rounds."""
        self._left.discard(hold)
        self._note(hold, leaves=False)

    def _note(self, hold: Hold, *, leaves: bool) -> None:
        self._places.setdefault(hold.owner, {})[hold.stack] = leaves

    def _learn_from_returned(self) -> None:
        """What came back since its loop was seen to wait: in a later round, or as garbage."""
        for hold in self._since:
            how = getattr(hold, "how", None)  # set right after `returned`
            if hold.returned is not None and how is not None and not hold.scoped:
                self._note(hold, leaves=how is GC)

    def _leaves(self, hold: Hold, newest: float) -> bool:
        """Whether a loop leaves out what it takes at this place, as far as is known.

        Where it has taken another one since, it has not kept this one to use it again.
        """
        return self._places.get(hold.owner, {}).get(hold.stack, newest > hold.taken)

    def _in_turn(self, holds: list[Hold], final: bool) -> list[Hold]:
        if final or len(holds) <= MAX_LOOKS:
            return holds
        start = self._turn % len(holds)
        self._turn = start + MAX_LOOKS
        return (holds + holds[:MAX_LOOKS])[start : start + MAX_LOOKS]

    def _waits_at(self, owner: Owner, frames: dict[int, FrameType]) -> tuple[list[Place], bool]:
        """Where in the service's own code an owner waits for its next item; empty: it does not.

        And whether no loop is around the one that waits.
        """
        if owner.ended is not None:  # its number may be another thread's by now
            return [], False
        stack = chain_of(owner.ref()).frames if owner.kind == TASK else stack_of(frame_of(owner, frames))
        places = waits_for_items(stack, self._classifier)
        return places, bool(places) and _is_outermost(stack, places)


def waits_for_items(stack: Iterable[FrameType], classifier: Classifier) -> list[Place]:
    """Return where in the service's own code a stack, innermost first, waits for an item of a queue.

    Further places are those that iterate over what the first one yields. None where it waits for anything
    else, or does anything. A library may stand between only where the service iterates over what it yields:
    elsewhere it may wait for an answer.
    """
    places: list[Place] = []
    gets = through_library = False
    for number, frame in enumerate(islice(stack, _MAX_FRAMES)):
        code = frame.f_code
        file = code.co_filename
        kind = classifier.kind(file)
        if _SQLALCHEMY in file:
            break  # it waits in a pool's queue for a connection
        if kind == APPLICATION:
            at = frame.f_lasti  # read once: a thread may go on
            gets = gets or (not number and called_at(code, at) == "get")
            if not gets or ((through_library or places) and not iterates(code, at)):
                break
            places.append((frame, at))
        through_library = through_library or (kind == LIBRARY and not file.endswith(_QUEUES))
        gets = gets or (code.co_name == "get" and file.endswith(_QUEUES))
    return places


def _is_outermost(stack: list[FrameType], places: list[Place]) -> bool:
    """Whether the loop that waits at these places is in no other one, which may run a job of many rounds.

    One that goes on for ever is none of a job, whoever has called it, as an executor.
    """
    frame, at = places[-1]
    outer = stack[stack.index(frame) + 1 :]
    try:
        return loops_around(frame.f_code, at) == 1 and (
            never_returns(frame.f_code, at)
            or not any(loops_around(other.f_code, other.f_lasti) for other in outer)
        )
    except Exception:  # what changes while it is read is not seen
        return False


def is_between_callbacks(frame: FrameType | None) -> bool:
    """Whether the thread of an event loop waits for events: no callback runs."""
    return frame is not None and frame.f_code.co_filename.endswith(_SELECTS)


def comes_back(hold: Hold, waits: list[Place]) -> bool:
    """Whether a loop that waits has taken a hold in an earlier round. Never raises."""
    stack = hold.stack
    taken_at = {
        code: (site.line, offset)
        for site, code, offset in zip(stack.sites, stack.codes, stack.offsets, strict=False)
    }
    try:
        return any(
            frame.f_code in taken_at and comes_round(frame.f_code, at, *taken_at[frame.f_code])
            for frame, at in waits
        )
    except Exception:  # what changes while it is read is not seen
        return False


def _gives_back(frame: FrameType) -> bool:
    """Whether a function may yet end a session's transaction itself, in its loop or after it. Never raises.

    True where its variables cannot be read.
    """
    try:
        return any(
            attributes_of(found).get("registry") is not None or carries(found)
            for found, _, _ in methods_named(frame, _ENDS)
        )
    except Exception:  # as above
        return True


def _keeps(frame: FrameType, at: int) -> bool:
    """Whether a variable that the function will read is a session or connection, or has one. Never raises.

    True where its variables cannot be read.
    """
    try:
        read = variables_read(frame.f_code, at)
        if not read:
            return False
        named = named_variables_of(frame)
        return not named or carries(*(named[name] for name in named.keys() & read), near=NOT_NEAR)
    except Exception:  # as above
        return True
