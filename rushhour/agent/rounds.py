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
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from .book import GC, is_in_a_generator
from .call_sites import APPLICATION, LIBRARY, is_of
from .calls import awaited_at, called_at, iterates, may_call, methods_named
from .coroutines import chain_of
from .flow import (
    comes_round,
    goes_round,
    has_left,
    is_same_call,
    loops_around,
    never_returns,
    variables_read,
)
from .frames import GENERATOR, attributes_of, named_variables_of, stack_of
from .handed_on import NOT_NEAR, carries
from .owners import CALLBACKS, TASK, TIMERS, frame_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

    from .book import Hold
    from .call_sites import Classifier, Stack
    from .owners import Owner

    Place = tuple[FrameType, int]  # and the offset of the instruction

_SELECTS = ("selectors.py", os.path.join("asyncio", "base_events.py"), os.path.join("asyncio", "runners.py"))
MAX_LOOKS = 8  # owners whose stacks are looked at in a tick: of more each has its turn
_MAX_FRAMES = 40  # further in than the service's own
_ENDS = frozenset({"commit", "rollback", "close", "remove"})
_ENDS_BY_NAME = _ENDS - {"close"}  # of whatever has such a method; files and answers have that one
# Where one waits for an item: a function, and the ends of files.
_GETS = {
    "get": (
        f"{os.sep}queue.py",  # of the standard library, gevent and eventlet
        os.path.join("asyncio", "queues.py"),
        os.path.join("multiprocessing", "queues.py"),
        os.path.join("janus", "__init__.py"),
    ),
    "receive": (os.path.join("anyio", "streams", "memory.py"),),
}
_NEXT = frozenset(("next", "anext", "send", "asend", "__next__", "__anext__"))
# What waits for an item of Redis, by its name in all clients.
_POPS = frozenset(
    ("blpop", "brpop", "brpoplpush", "blmove", "blmpop", "bzpopmin", "bzpopmax", "bzmpop", "xreadgroup")
)
# Where one waits for a signal to go on, as of an event: a result of this round may be there, too.
_SIGNALS = (f"{os.sep}threading.py", os.path.join("asyncio", "locks.py"))
_WAITS = ("wait", "wait_for")
_TASKS = os.path.join("asyncio", "tasks.py")  # whose `wait_for` runs a task of its own until Python 3.11


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
            owner, wait = hold.owner, None
            places: list[Place] = []  # up to the loop that has gone round
            if owner.kind in (CALLBACKS, TIMERS):
                waits = is_between_callbacks(frames.get(owner.thread))
            else:
                wait = self._wait_of(owner, frames)
                places = wait.since(hold)
                waits = bool(places)
            if not waits:
                continue
            if hold.scoped:
                # Of a session that a registry keeps for its thread, a wait says nothing: it may be for the
                # results of others. One that was used in the next round was kept from one to the next, unless
                # these are the rounds of a single job, or of one that says itself when its session is over.
                if wait is not None and (wait.may_be_of_a_job(places) or wait.gives_back(hold, places)):
                    continue
                since.setdefault(hold, now)
                if hold.used > since[hold]:
                    found[hold] = since[hold]
            elif owner.kind == CALLBACKS:
                continue  # of the objects that a loop calls back, as of its clients, each may have its own
            elif owner.kind == TIMERS or now - hold.used >= patience(hold):
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

    def _wait_of(self, owner: Owner, frames: dict[int, FrameType]) -> Wait:
        if owner.ended is not None:  # its number may be another thread's by now
            return Wait([], [], is_for_an_item=False)
        stack = _stack_of_task(owner.ref()) if owner.kind == TASK else stack_of(frame_of(owner, frames))
        return wait_for_items(stack, self._classifier)


class Wait(NamedTuple):
    """A wait for the next item.

    `places`: the service's own functions, from the one that asks for it outwards.
    """

    stack: list[FrameType]
    places: list[Place]
    is_for_an_item: bool  # and not for a mere signal

    def since(self, hold: Hold) -> list[Place]:
        """Return the places up to the loop that has gone round since it took a hold; none: no loop has.

        Never raises.
        """
        stack = hold.stack
        taken_at = {
            code: (site.line, offset)
            for site, code, offset in zip(stack.sites, stack.codes, stack.offsets, strict=False)
        }
        if is_in_a_generator(hold) and not self._runs_generator_of(stack.codes):
            return []
        is_over = False  # the call that has taken it
        try:
            for number, (frame, at) in enumerate(self.places):
                code = frame.f_code
                if code not in taken_at:
                    if is_over:
                        break  # who called it is not known
                    continue
                line, offset = taken_at[code]
                if is_same_call(code, at, offset):
                    found = is_over and goes_round(code, at)
                else:
                    found = comes_round(code, at, line, offset)
                    is_over = has_left(code, at, offset)
                    if not found and not is_over:
                        break
                if found:
                    return self._up_to(number)
        except Exception:  # what changes while it is read is not seen
            return []
        return []

    def _up_to(self, number: int) -> list[Place]:
        """Return the places up to one that goes round, and of a generator up to the loop that it yields to.

        What a generator yields is in the hands of whoever goes on with it, libraries between included. No
        places where that is no loop, as `list(found())`, which keeps all.
        """
        first = number
        while self.places[number][0].f_code.co_flags & GENERATOR:
            number += 1
            if number == len(self.places) or not _goes_on(*self.places[number]):
                return []
        frame, at = self.places[number]
        if number > first and not goes_round(frame.f_code, at):
            return []
        begin, end = (self.stack.index(self.places[place][0]) for place in (first, number))
        between = [(found, found.f_lasti) for found in self.stack[begin:end]]
        return [*self.places[:first], *between, (frame, at)]

    def _runs_generator_of(self, codes: Iterable[CodeType]) -> bool:
        """Whether all generators in which a hold was taken are still at it: nobody else has them in hands."""
        running = {frame.f_code for frame, _ in self.places}
        return all(code in running for code in codes if code.co_flags & GENERATOR)

    def may_be_of_a_job(self, places: list[Place]) -> bool:
        """Whether the rounds of the outermost place, of `places`, may be those of a single job.

        A loop that goes on for ever is none of a job, whoever has called it, as an executor.
        """
        frame, at = places[-1]
        outer = self.stack[self.stack.index(frame) + 1 :]
        try:
            if not self.is_for_an_item or loops_around(frame.f_code, at) != 1:
                return True
            in_loops = any(loops_around(other.f_code, other.f_lasti) for other in outer)
            return in_loops and not never_returns(frame.f_code, at)
        except Exception:  # as above
            return True

    def gives_back(self, hold: Hold, places: list[Place]) -> bool:
        """Whether these functions may yet end a session's transaction, or their callers once they return.

        So may a function that took the hold, in a later round: of that one only the names can be read, and
        what settings keep it from.
        Never raises.
        """
        frame, at = places[-1]
        here = {other.f_code for other, _ in self.places}
        try:
            if any(code not in here and may_call(code, _ENDS_BY_NAME) for code in hold.stack.codes):
                return True
            ahead = places if never_returns(frame.f_code, at) else self.places
        except Exception:  # as above
            return True
        return any(_gives_back(other) for other, _ in ahead)


def _stack_of_task(task: Any) -> list[FrameType]:
    chain = chain_of(task)
    stack, code = chain.frames, chain.frames[0].f_code if chain.frames else None
    if code is not None and code.co_name == "wait_for" and code.co_filename.endswith(_TASKS):
        stack = [*(frame for child in chain.children for frame in chain_of(child).frames), *stack]
    return stack


def wait_for_items(stack: list[FrameType], classifier: Classifier) -> Wait:
    """Return where a stack, innermost first, waits for an item of a queue, or for a signal to go on.

    No places where it waits for anything else, or does anything. Functions of the service's own may call one
    another. A library may stand between only where the service iterates over what it yields: elsewhere it may
    wait for an answer.
    """
    places: list[Place] = []
    gets, signals = False, True
    direct = True  # nothing else lies between the wait, or the place before, and this one
    for number, frame in enumerate(islice(stack, _MAX_FRAMES)):
        code = frame.f_code
        file = code.co_filename
        kind = classifier.kind(file)
        if is_of("sqlalchemy", file):
            break  # it waits in a pool's queue for a connection
        if kind == APPLICATION:
            at = frame.f_lasti  # read once: a thread may go on
            if not places and _asks_for_an_item(code, at, innermost=not number):
                gets = direct = True
            if not ((gets or (signals and number)) and (direct or iterates(code, at))):
                break
            places.append((frame, at))
            direct = True
        elif not places and code.co_name in _GETS and file.endswith(_GETS[code.co_name]):
            gets = direct = True
        elif places:
            direct = False
        else:
            signals = signals and code.co_name in _WAITS and file.endswith(_SIGNALS)
            direct = direct and kind != LIBRARY
    return Wait(stack, places, is_for_an_item=gets)


def _asks_for_an_item(code: CodeType, at: int, *, innermost: bool) -> bool:
    """Whether a function of the service's own calls, or awaits, what is known by its name."""
    called = called_at(code, at)
    return (innermost and called == "get") or called in _POPS or awaited_at(code, at) in _POPS


def _goes_on(frame: FrameType, at: int) -> bool:
    """Whether a function asks a generator for what it yields next."""
    code = frame.f_code
    if code.co_flags & GENERATOR or iterates(code, at):
        return True
    return not _NEXT.isdisjoint((called_at(code, at), awaited_at(code, at)))


def is_between_callbacks(frame: FrameType | None) -> bool:
    """Whether the thread of an event loop waits for events: no callback runs."""
    return frame is not None and frame.f_code.co_filename.endswith(_SELECTS)


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
        of_module = frame.f_code.co_name == "<module>"  # a script whose loop is in no function
        named = frame.f_globals if of_module else named_variables_of(frame)
        return not named or carries(*(named[name] for name in read if name in named), near=NOT_NEAR)
    except Exception:  # as above
        return True
