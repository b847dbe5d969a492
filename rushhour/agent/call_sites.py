"""From a running frame to the application's call site, cheaply enough for every check-out."""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH100, PTH109, PTH118, PTH120

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

MAX_FRAMES = 3  # of the application, per stack
MAX_STACKS = 20_000  # more than that is code generated at run time; then all are forgotten
MAX_DEPTHS = 6  # tried in turn; a service has few ways into SQLAlchemy that are often taken
_SEEK = 400  # frames looked at in the slow path

# A place in the code is one number: the address of its code object plus the offset of the instruction. From
# CPython 3.11 on the instructions lie within the code object, so no two places have the same one.

# What a source file is. Tested by identity in the hot path.
APPLICATION = 1
LIBRARY = 2  # third-party: a call site only where no application frame exists
PLUMBING = 3  # SQLAlchemy, the standard library, the agent, code without a source file: never a call site
FRAMEWORK = 4  # the web framework's dispatcher: beyond it are servers and middleware

_STDLIB = os.path.dirname(os.__file__) + os.sep
_AGENT = os.path.dirname(os.path.abspath(__file__)) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Site:
    """One line of code; `file` is absolute."""

    __slots__ = ("file", "function", "line")

    def __init__(self, file: str, line: int, function: str) -> None:
        self.file = file
        self.line = line
        self.function = function


class Stack:
    """Application frames, innermost first; it keeps their code alive, so that its key stays its own."""

    __slots__ = ("codes", "sites")

    def __init__(self, sites: tuple[Site, ...], codes: tuple[CodeType, ...]) -> None:
        self.sites = sites
        self.codes = codes


UNKNOWN = Stack((Site("<unknown>", 0, "?"),), ())


class Classifier:
    """Tells what a source file is, by its path; cached per file."""

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        self._plumbing = [_AGENT]
        self._frameworks: set[str] = set()
        self._directory = os.getcwd()  # relative file names refer to where the process started

    def add_plumbing(self, directory: str) -> None:
        self._plumbing.append(directory + os.sep)
        self.kinds.clear()

    def add_framework(self, filename: str) -> None:
        self._frameworks.add(filename)
        self.kinds.clear()

    def absolute(self, filename: str) -> str:
        return os.path.normpath(os.path.join(self._directory, filename))

    def kind(self, filename: str) -> int:
        """Classify a code object's file, and remember it."""
        found = self.kinds[filename] = self._classify(filename)
        return found

    def _classify(self, filename: str) -> int:
        if filename in self._frameworks:
            return FRAMEWORK
        if filename.startswith("<") or not filename.endswith(".py"):
            return PLUMBING  # generated code and templates: their line numbers are nobody's
        path = self.absolute(filename)
        if any(path.startswith(directory) for directory in self._plumbing):
            return PLUMBING
        if any(mark in path for mark in _INSTALLED):
            return LIBRARY
        return PLUMBING if path.startswith(_STDLIB) else APPLICATION


class StackFinder:
    """From a check-out to its interned Stack, through a tree with a level per application frame.

    A level maps places to deeper levels: key 0 holds the Stack that ends there, its key 1 the same where the
    web framework itself made the call. Lines, which CPython has to search for, are looked up once per
    distinct stack.

    Looking at a frame makes CPython create an object for it, and SQLAlchemy's ORM is ten frames deep. So it
    is learnt at which depths application frames are found, and those are looked at first, which takes a third
    of the time: the same instruction at the same depth is the same way into SQLAlchemy. (A hook of the
    application in place of exactly as many of SQLAlchemy's frames would be named by the line that called it,
    and a view that a view calls is told as if the framework had called it.)
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._root: dict[int, Any] = {}
        self._libraries: dict[int, Stack] = {}  # where a service is itself an installed package
        self._learnt: list[tuple[int, dict[int, Any]]] = []  # depth -> places found there -> their level
        self._kept = 0

    def hot_path(self) -> Callable[[int], Stack]:
        """The function that is called at every check-out, as a closure.

        Its argument is how many frames above itself the search begins: 1 is its caller.
        """
        kind_of, classify, keep = self._classifier.kinds.get, self._classifier.kind, self._keep
        beyond = self._beyond
        root, libraries, learnt, frame_of = self._root, self._libraries, self._learnt, sys._getframe

        def find(above: int) -> Stack:  # noqa: PLR0912  # calls would cost more than they tidy
            level: Any = None  # one tree: the type checker need not follow it
            frame: FrameType | None = None
            left, library = MAX_FRAMES, None
            try:
                for depth, places in learnt:
                    frame = frame_of(above + depth)
                    level = places.get(id(frame.f_code) + frame.f_lasti)
                    if level is not None:
                        stack: Stack | None = level.get(1)
                        if stack is not None:
                            return stack
                        frame = frame.f_back
                        left -= 1
                        break
            except ValueError:
                pass  # the stack is not that deep
            if level is None:
                level, frame = root, frame_of(above)
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
                        return keep(frame_of(above))
                    if kind == LIBRARY:
                        if library is None:
                            library = frame
                    elif kind == FRAMEWORK and level is not root:
                        break
                frame = frame.f_back
            if level is not root:
                return level.get(0) or keep(frame_of(above))
            if library is None:
                return beyond()
            return libraries.get(id(library.f_code) + library.f_lasti) or keep(frame_of(above))

        return find

    def _beyond(self) -> Stack:
        """With asyncio SQLAlchemy runs in a greenlet; the application awaits it in another one."""
        greenlet = sys.modules.get("greenlet")
        current = greenlet.getcurrent() if greenlet is not None else None
        if type(current).__name__ != "_AsyncIoGreenlet":  # SQLAlchemy's, in every version
            return UNKNOWN
        awaiting: FrameType | None = getattr(current.parent, "gr_frame", None)  # type: ignore[union-attr]  # as above
        kind_of, classify = self._classifier.kinds.get, self._classifier.kind
        level, left, frame = self._root, MAX_FRAMES, awaiting
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
                    return self._keep_beyond(awaiting)
                if kind == FRAMEWORK and level is not self._root:
                    break
            frame = frame.f_back
        return level.get(0) or self._keep_beyond(awaiting)

    def _keep_beyond(self, awaiting: FrameType | None) -> Stack:
        frames = self._frames(awaiting, APPLICATION)
        if not frames:
            return UNKNOWN
        level = self._root
        for one in frames:
            level = level.setdefault(_place(one), {})
        stack: Stack | None = level.get(0)
        if stack is None:
            self._kept += 1
            stack = level.setdefault(0, self._stack(frames))
        return stack

    def _keep(self, start: FrameType) -> Stack:
        if self._kept >= MAX_STACKS:
            self._root.clear()
            self._libraries.clear()
            self._learnt.clear()
            self._kept = 0
        self._kept += 1
        frames = self._frames(start, APPLICATION)
        if not frames:
            frames = self._frames(start, LIBRARY)[:1]
            return self._libraries.setdefault(_place(frames[0]), self._stack(frames))
        level = self._root
        for frame in frames:
            level = level.setdefault(_place(frame), {})
        self._learn(start, frames[0])
        kept: Stack = level.setdefault(0, self._stack(frames))
        caller = frames[0].f_back
        if caller is not None and self._classifier.kinds.get(caller.f_code.co_filename) == FRAMEWORK:
            level[1] = kept
        return kept

    def _stack(self, frames: list[FrameType]) -> Stack:
        absolute = self._classifier.absolute
        sites = (
            Site(absolute(one.f_code.co_filename), one.f_lineno or 0, _name(one.f_code)) for one in frames
        )
        return Stack(tuple(sites), tuple(one.f_code for one in frames))

    def _learn(self, start: FrameType, innermost: FrameType) -> None:
        depth, frame = 0, start
        while frame is not innermost and frame.f_back is not None:
            depth, frame = depth + 1, frame.f_back
        place = _place(innermost)
        known = dict(self._learnt)
        if depth not in known and len(known) < MAX_DEPTHS:
            known[depth] = {}
            self._learnt[:] = sorted(known.items())  # at once, for other threads read it
        if depth in known:
            known[depth][place] = self._root[place]

    def _frames(self, frame: FrameType | None, wanted: int) -> list[FrameType]:
        found: list[FrameType] = []
        for _ in range(_SEEK):
            if frame is None or len(found) == MAX_FRAMES:
                break
            filename = frame.f_code.co_filename
            kind = self._classifier.kinds.get(filename) or self._classifier.kind(filename)
            if kind == wanted:
                found.append(frame)
            elif kind == FRAMEWORK and found:
                break
            frame = frame.f_back
        return found


def _place(frame: FrameType) -> int:
    return id(frame.f_code) + frame.f_lasti


def _name(code: CodeType) -> str:
    """`Customers.list`, not `create_app.<locals>.Customers.list`."""
    return getattr(code, "co_qualname", code.co_name).rpartition("<locals>.")[2]
