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


class StackFinder:
    """From a check-out to its interned Stack, through a tree with a level per application frame.

    A level maps places to deeper levels: key 0 holds the Stack that ends there, its key 1 the same where the
    framework itself made the call. Lines, which CPython has to search for, are looked up once per distinct
    stack.

    Looking at a frame makes CPython create an object for it, and SQLAlchemy's ORM is ten frames deep. So it
    is learnt at which depths application frames are found, and those are looked at first, which takes a third
    of the time: the same instruction at the same depth is the same way into SQLAlchemy. (A hook of the
    application in place of exactly as many of SQLAlchemy's frames would be named by the line that called it,
    and a view called by another view appears as if called by the framework.) Likewise it is learnt how deep
    the greenlets are in which SQLAlchemy runs under asyncio: the application is not in them, but awaits them.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._root: dict[int, Any] = {}
        self._libraries: dict[int, Stack] = {}  # where a service is itself an installed package
        self._learnt: _Depths = []  # depth -> places found there -> their level
        self._bottoms: _Depths = []  # depth -> places where such a greenlet begins
        self._awaited: _Depths = []  # as `_learnt`, from where one is awaited
        self._current: Callable[[], Any] = _nothing  # the greenlet that runs, and SQLAlchemy's class of them
        self._greenlet: type[Any] = type(None)
        self._kept = 0

    def hot_path(self) -> Callable[[int], Stack]:
        """The function that is called at every check-out, as a closure.

        Its argument is how many frames above itself the search begins: 1 is its caller.
        """
        search, keep = self._search_of(), self._keep
        beyond = self._beyond_of(search)
        root, learnt, bottoms, frame_of = self._root, self._learnt, self._bottoms, sys._getframe

        def find(above: int) -> Stack:
            try:
                for depth, places in bottoms:
                    frame = frame_of(above + depth)
                    if id(frame.f_code) + frame.f_lasti in places and frame.f_back is None:
                        return beyond() or keep(frame_of(above))
                for depth, places in learnt:
                    frame = frame_of(above + depth)
                    level = places.get(id(frame.f_code) + frame.f_lasti)
                    if level is not None:
                        return (
                            level.get(1)
                            or search(frame.f_back, level, MAX_FRAMES - 1)
                            or keep(frame_of(above))
                        )
            except ValueError:
                pass  # the stack is not that deep
            return search(frame_of(above), root, MAX_FRAMES) or keep(frame_of(above))

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

    def _beyond_of(self, search: _Search) -> Callable[[], Stack | None]:
        """The function that finds the stack of the coroutine that awaits the greenlet; None: a new one."""
        root, awaited, ways = self._root, self._awaited, _Ways()

        def beyond() -> Stack | None:
            current = self._current()
            if type(current) is not self._greenlet:
                return None
            try:
                for depth, places in awaited:
                    frame = ways[depth](current)
                    level = places.get(id(frame.f_code) + frame.f_lasti)
                    if level is not None:
                        return level.get(1) or search(frame.f_back, level, MAX_FRAMES - 1)
            except AttributeError:
                pass  # the stack is not that deep
            return search(awaiting_frame(), root, MAX_FRAMES)

        return beyond

    def _keep(self, start: FrameType) -> Stack:
        if self._kept >= MAX_STACKS:
            for known in (self._root, self._libraries, self._learnt, self._bottoms, self._awaited):
                known.clear()
            self._kept = 0
        frames = self._frames(start, APPLICATION)
        awaiting = None if frames else awaiting_frame()
        if awaiting is not None:
            self._current = sys.modules["greenlet"].getcurrent
            self._greenlet = type(self._current())
            self._learn(self._bottoms, start, None, None)
            frames = self._frames(awaiting, APPLICATION)
        if frames:
            if awaiting is None:
                return self._keep_application(self._learnt, start, frames)
            return self._keep_application(self._awaited, awaiting, frames)
        frames = (self._frames(awaiting, LIBRARY) or self._frames(start, LIBRARY))[:1]
        if not frames:
            return UNKNOWN
        self._kept += 1
        return self._libraries.setdefault(_place(frames[0]), self._stack(frames))

    def _keep_application(self, known: _Depths, start: FrameType, frames: list[FrameType]) -> Stack:
        level = self._root
        for frame in frames:
            level = level.setdefault(_place(frame), {})
        self._learn(known, start, frames[0], self._root[_place(frames[0])])
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

    def _learn(
        self,
        known: _Depths,
        start: FrameType,
        wanted: FrameType | None,
        level: dict[int, Any] | None,
    ) -> None:
        """Note how deep a frame lies (where it is None: the outermost one) and what its place stands for."""
        depth, frame = 0, start
        while frame is not wanted and frame.f_back is not None:
            depth, frame = depth + 1, frame.f_back
        depths = dict(known)
        if depth not in depths and len(depths) < MAX_DEPTHS:
            depths[depth] = {}
            known[:] = sorted(depths.items())  # at once, for other threads read it
        if depth in depths:
            # In place of a level its code, which must live for the place to stay its own.
            depths[depth][_place(frame)] = frame.f_code if level is None else level

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
