"""Finds connections that an earlier round of a loop of the service's own has left out.

A thread, greenlet or task of the service's own may take its items from a queue, in a loop. No library says
when such an item is over, but the instructions do: where the loop waits for its next item, ahead of the line
from which it took a connection, it has gone round since. What it may yet use of an earlier round it keeps in
a variable that it will read before it sets it anew: then it is kept on purpose, and no leak.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
import sys
from itertools import islice
from types import CellType, ModuleType
from typing import TYPE_CHECKING, Any

from .call_sites import APPLICATION, LIBRARY
from .calls import called_at, comes_round, iterates, variables_read
from .coroutines import chain_of
from .frames import attributes_of, named_variables_of, stack_of
from .handed_on import is_carrier
from .owners import CALLBACKS, TASK, frame_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from .book import Hold
    from .call_sites import Classifier
    from .owners import Owner

    Place = tuple[FrameType, int]  # and the offset of the instruction

_SELECTS = ("selectors.py", os.path.join("asyncio", "base_events.py"), os.path.join("asyncio", "runners.py"))
MAX_LOOKS = 8  # owners whose stacks are looked at in a tick: of more each has its turn
_MAX_FRAMES = 40  # further in than the service's own
_MAX_MEMBERS = 20  # of an object or a list
_QUEUES = (
    f"{os.sep}queue.py",  # of the standard library, gevent and eventlet
    os.path.join("asyncio", "queues.py"),
)


class Rounds:
    """Looks at the owners of holds, tick by tick."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._since: dict[Hold, float] = {}  # -> when its owner was first seen to wait in a loop
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
        frames = sys._current_frames() if holds else {}
        # Each round of a chain of callbacks takes one: then the one before left out what it took.
        newest = {(hold.owner, hold.stack): hold.taken for hold in live if hold.owner.kind == CALLBACKS}
        found: dict[Hold, float] = {}
        since = {hold: self._since[hold] for hold in holds if hold in self._since}
        for hold in self._in_turn([hold for hold in holds if not hold.others], final):
            owner = hold.owner
            if owner.kind == CALLBACKS:
                waits = is_between_callbacks(frames.get(owner.thread))
                again = max(newest[owner, hold.stack], hold.used if hold.scoped else 0.0)
            else:
                places = self._places(owner, frames)
                if not hold.scoped:
                    if now - hold.used >= patience(hold) and is_left(hold, places):
                        found[hold] = now
                    continue
                # Of a session that a registry keeps for its thread, a wait says nothing: it may be for the
                # results of others. One that was used in the next round was kept from one to the next.
                waits = any(frame.f_code in hold.stack.codes for frame, _ in places)
                again = hold.used
            if waits:
                since.setdefault(hold, now)
                if again > since[hold]:
                    found[hold] = since[hold]
        frames.clear()
        self._since = since
        return found

    def _in_turn(self, holds: list[Hold], final: bool) -> list[Hold]:
        if final or len(holds) <= MAX_LOOKS:
            return holds
        start = self._turn % len(holds)
        self._turn = start + MAX_LOOKS
        return (holds + holds[:MAX_LOOKS])[start : start + MAX_LOOKS]

    def _places(self, owner: Owner, frames: dict[int, FrameType]) -> list[Place]:
        """Where in the service's own code an owner waits for its next item; empty: it does not."""
        if owner.ended is not None:  # its number may be another thread's by now
            return []
        stack = chain_of(owner.ref()).frames if owner.kind == TASK else stack_of(frame_of(owner, frames))
        return waits_for_items(stack, self._classifier)


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
        kind = classifier.kinds.get(file) or classifier.kind(file)
        if kind == APPLICATION:
            at = frame.f_lasti  # read once: a thread may go on
            gets = gets or (not number and called_at(code, at) == "get")
            if not gets or ((through_library or places) and not iterates(code, at)):
                break
            places.append((frame, at))
        through_library = through_library or (kind == LIBRARY and not file.endswith(_QUEUES))
        gets = gets or (code.co_name == "get" and file.endswith(_QUEUES))
    return places


def is_between_callbacks(frame: FrameType | None) -> bool:
    """Whether the thread of an event loop waits for events: no callback runs."""
    return frame is not None and frame.f_code.co_filename.endswith(_SELECTS)


def is_left(hold: Hold, waits: list[Place]) -> bool:
    """Whether a loop that waits has taken a hold in an earlier round, and not kept it. Never raises."""
    taken_at = {code: site.line for site, code in zip(hold.stack.sites, hold.stack.codes, strict=False)}
    try:
        return any(
            frame.f_code in taken_at and comes_round(frame.f_code, at, taken_at[frame.f_code])
            for frame, at in waits
        ) and not any(_keeps(frame, at) for frame, at in waits)
    except Exception:  # what changes while it is read is not seen
        return False


def _keeps(frame: FrameType, at: int) -> bool:
    """Whether a variable that the function will read is a session or connection, or has one.

    True where its variables cannot be read.
    """
    read = variables_read(frame.f_code, at)
    if not read:
        return False
    named = named_variables_of(frame)
    if not named:
        return True
    return any(_has_carrier(thing) for name, thing in named.items() if name in read)


def _has_carrier(thing: Any, steps: int = 2) -> bool:
    """Whether it is a session or connection, or has one among its attributes, or in a list that it has."""
    if type(thing) is CellType:
        try:
            thing = thing.cell_contents
        except ValueError:  # empty
            return False
    if is_carrier(type(thing)):
        return True
    if not steps or issubclass(type(thing), (type, ModuleType)):
        return False
    if type(thing) in (list, tuple, set, frozenset):
        members = list(thing)
    else:
        members = list((thing if type(thing) is dict else attributes_of(thing)).values())
    return any(_has_carrier(member, steps - 1) for member in members[:_MAX_MEMBERS])
