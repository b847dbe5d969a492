"""Finds the interned stack of the application's call sites for every check-out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import attrgetter
from types import CodeType, FrameType
from typing import Any

from .call_sites import APPLICATION, FRAMEWORK, LIBRARY, UNKNOWN, Classifier, Site, Stack

MAX_FRAMES = 3  # of the application, per stack
MAX_STACKS = 20_000  # more than that is code generated at run time; then all are forgotten
MAX_DEPTHS = 6  # tried in turn; a service has few ways into SQLAlchemy that are often taken
_SEEK = 400  # frames looked at in the slow path
_ASYNCIO_GREENLET = "_AsyncIoGreenlet"  # SQLAlchemy's, in every version

# A place in the code is one number: the address of its code object plus the offset of the instruction. From
# CPython 3.11 on the instructions lie within the code object, so no two places have the same one.

_Depths = list[tuple[int, dict[int, Any]]]  # how deep -> the places found there
_Search = Callable[[FrameType | None, dict[int, Any], int], Stack | None]


class _Ways(dict[int, Callable[[Any], FrameType]]):
    """How many frames above the innermost that awaits a greenlet -> what gets that frame from it, in C."""

    def __missing__(self, depth: int) -> Callable[[Any], FrameType]:
        way = self[depth] = attrgetter("parent.gr_frame" + ".f_back" * depth)
        return way


class _Awaits:
    """A place of the application that awaits a greenlet: its level, and where its greenlets begin.

    From there to a check-out lie frames of SQLAlchemy alone.
    """

    __slots__ = ("bottoms", "level")

    def __init__(self, level: dict[int, Any]) -> None:
        self.level = level
        self.bottoms: _Depths = []  # depth -> places -> their code, which must live for each to stay its own


class StackFinder:
    """From a check-out to its interned Stack, through a tree with a level per application frame.

    A level maps places to deeper levels: key 0 holds the Stack that ends there, its key 1 the same where the
    framework itself made the call. Lines, which CPython has to search for, are looked up once per distinct
    stack.

    Looking at a frame makes CPython create an object for it, and SQLAlchemy's ORM is ten frames deep. So it
    is learnt at which depths application frames are found, and those are looked at first, which takes a third
    of the time: the same instruction at the same depth is the same way into SQLAlchemy. (A hook of the
    application in place of exactly as many of SQLAlchemy's frames would be named by the line that called it,
    and a view called by another view appears as if called by the framework.) Likewise it is learnt where the
    application awaits the greenlets in which SQLAlchemy runs under asyncio, and how deep each of these is:
    the application is not in them.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._root: dict[int, Any] = {}
        self._libraries: dict[int, Stack] = {}  # where a service is itself an installed package
        self._learnt: _Depths = []  # depth -> places found there -> their level
        self._awaited: _Depths = []  # the same of those that await a greenlet -> their _Awaits
        self._current: Callable[[], Any] = _nothing  # the greenlet that runs
        self._greenlet: type[Any] | None = None  # SQLAlchemy's class of them, once one was seen
        self._kept = 0

    def hot_path(self) -> Callable[[int], Stack]:
        """The function that is called at every check-out, as a closure.

        Its argument is how many frames above itself the search begins: 1 is its caller.
        """
        search, keep, has_application = self._search_of(), self._keep, self._has_application
        root, learnt, awaited = self._root, self._learnt, self._awaited
        frame_of, ways = sys._getframe, _Ways()

        def find(above: int) -> Stack:
            awaits = False
            try:
                if self._greenlet is not None and type(running := self._current()) is self._greenlet:
                    awaits = True
                    for depth, places in awaited:
                        frame = ways[depth](running)
                        found = places.get(id(frame.f_code) + frame.f_lasti)
                        if found is None:
                            continue
                        for within, bottoms in found.bottoms:
                            bottom = frame_of(above + within)
                            if id(bottom.f_code) + bottom.f_lasti in bottoms and bottom.f_back is None:
                                level = found.level
                                return (
                                    level.get(1)
                                    or search(frame.f_back, level, MAX_FRAMES - 1)
                                    or keep(frame_of(above))
                                )
                        break
                for depth, places in learnt:
                    frame = frame_of(above + depth)
                    level = places.get(id(frame.f_code) + frame.f_lasti)
                    if level is not None:
                        return (
                            level.get(1)
                            or search(frame.f_back, level, MAX_FRAMES - 1)
                            or keep(frame_of(above))
                        )
            except (ValueError, AttributeError):
                pass  # the stack is not that deep
            start = frame_of(above)
            if awaits and not has_application(start):
                return search(awaiting_frame(), root, MAX_FRAMES) or keep(start)
            return search(start, root, MAX_FRAMES) or keep(start)

        return find

    def _search_of(self) -> _Search:
        """The function that follows a stack through the tree from a level on; None where it is a new one."""
        kind_of, classify = self._classifier.kinds.get, self._classifier.kind
        root, libraries = self._root, self._libraries

        def search(frame: FrameType | None, level: dict[int, Any], left: int) -> Stack | None:
            library = None
            while frame is not None:
                code = frame.f_code
                deeper = level.get(id(code) + frame.f_lasti)
                if deeper is not None:
                    level = deeper
                    left -= 1
                    if not left:
                        break
                else:
                    kind = kind_of(code.co_filename) or classify(code.co_filename)
                    if kind == APPLICATION:
                        return None
                    if kind == LIBRARY:
                        if library is None:
                            library = frame
                    elif kind == FRAMEWORK and level is not root:
                        break
                frame = frame.f_back
            if level is root and library is not None:
                return libraries.get(id(library.f_code) + library.f_lasti)
            return level.get(0)

        return search

    def _keep(self, start: FrameType) -> Stack:
        if self._kept >= MAX_STACKS:
            for known in (self._root, self._libraries, self._learnt, self._awaited):
                known.clear()
            self._kept = 0
        frames = self._frames(start, APPLICATION)
        awaiting = None if frames else awaiting_frame()
        if awaiting is not None:
            self._current = sys.modules["greenlet"].getcurrent
            self._greenlet = type(self._current())
            frames = self._frames(awaiting, APPLICATION)
        if frames:
            kept = self._keep_application(frames)
            place = _place(frames[0])
            if awaiting is None:
                self._learn(self._learnt, start, frames[0], self._root[place])
            else:
                awaits = self._learn(self._awaited, awaiting, frames[0], _Awaits(self._root[place]))
                if awaits is not None:
                    self._learn(awaits.bottoms, start, None, None)
            return kept
        frames = (self._frames(awaiting, LIBRARY) or self._frames(start, LIBRARY))[:1]
        if not frames:
            return UNKNOWN
        self._kept += 1
        return self._libraries.setdefault(_place(frames[0]), self._stack(frames))

    def _keep_application(self, frames: list[FrameType]) -> Stack:
        level = self._root
        for frame in frames:
            level = level.setdefault(_place(frame), {})
        if 0 not in level:
            self._kept += 1
        kept: Stack = level.setdefault(0, self._stack(frames))
        caller = frames[0].f_back
        if caller is not None and self._classifier.kinds.get(caller.f_code.co_filename) == FRAMEWORK:
            self._root[_place(frames[0])][1] = kept
        return kept

    def _stack(self, frames: list[FrameType]) -> Stack:
        absolute = self._classifier.absolute
        sites = (
            Site(absolute(frame.f_code.co_filename), frame.f_lineno or 0, _name(frame.f_code))
            for frame in frames
        )
        codes = tuple(frame.f_code for frame in frames)
        return Stack(tuple(sites), codes, tuple(frame.f_lasti for frame in frames))

    def _learn(self, known: _Depths, start: FrameType, wanted: FrameType | None, stands_for: Any) -> Any:
        """Note how deep a frame lies (where it is None: the outermost one) and what its place stands for.

        Return what it stands for; None where too many depths are tried already.
        """
        depth, frame = 0, start
        while frame is not wanted and frame.f_back is not None:
            depth, frame = depth + 1, frame.f_back
        depths = dict(known)
        if depth not in depths and len(depths) < MAX_DEPTHS:
            depths[depth] = {}
            known[:] = sorted(depths.items())  # at once, for other threads read it
        if depth not in depths:
            return None
        return depths[depth].setdefault(_place(frame), frame.f_code if stands_for is None else stands_for)

    def _has_application(self, frame: FrameType | None) -> bool:
        """Whether there is a frame of the application from this one outwards."""
        kind = self._classifier.kind
        while frame is not None:
            if kind(frame.f_code.co_filename) == APPLICATION:
                return True
            frame = frame.f_back
        return False

    def _frames(self, frame: FrameType | None, wanted: int) -> list[FrameType]:
        found: list[FrameType] = []
        for _ in range(_SEEK):
            if frame is None or len(found) == MAX_FRAMES:
                break
            filename = frame.f_code.co_filename
            kind = self._classifier.kind(filename)
            if kind == wanted:
                found.append(frame)
            elif kind == FRAMEWORK and found:
                break
            frame = frame.f_back
        return found


def _nothing() -> None:
    """Stand in for what is not known yet."""


def awaiting_frame() -> FrameType | None:
    """Where a coroutine awaits the greenlet that runs here, if it is one of SQLAlchemy's for asyncio."""
    greenlet = sys.modules.get("greenlet")
    current = greenlet.getcurrent() if greenlet is not None else None
    if type(current).__name__ != _ASYNCIO_GREENLET:
        return None
    frame: FrameType | None = getattr(current.parent, "gr_frame", None)  # type: ignore[union-attr]  # as above
    return frame


def _place(frame: FrameType) -> int:
    return id(frame.f_code) + frame.f_lasti


def _name(code: CodeType) -> str:
    """`Customers.list`, not `create_app.<locals>.Customers.list`."""
    return getattr(code, "co_qualname", code.co_name).rpartition("<locals>.")[2]
