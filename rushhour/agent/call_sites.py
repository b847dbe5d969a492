"""Call sites and stacks of the application, and the classification of source files."""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH100, PTH109, PTH113, PTH117, PTH118, PTH120

from __future__ import annotations

import os
import sys
from functools import lru_cache
from types import CodeType

# What a source file is. Tested by identity in the hot path.
APPLICATION = 1
LIBRARY = 2  # third-party: a call site only where no application frame exists
PLUMBING = 3  # SQLAlchemy, the standard library, the agent, code without a source file: never a call site
FRAMEWORK = 4  # a dispatcher, of requests or of a loop's or a thread's work: beyond it lies only who serves

_STDLIB = os.path.dirname(os.__file__) + os.sep
AGENT = os.path.dirname(os.path.abspath(__file__)) + os.sep
# asyncio's Handle._run, an executor's _worker, Thread.run
_DISPATCHERS = ("asyncio/events.py", "concurrent/futures/thread.py", "threading.py")
_SCRIPTS = os.path.join(sys.prefix, "bin") + os.sep  # some packages install modules there: bottle.py
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Site:
    """A line of code; `file` is absolute."""

    __slots__ = ("file", "function", "line")

    def __init__(self, file: str, line: int, function: str) -> None:
        self.file = file
        self.line = line
        self.function = function


class Stack:
    """Application frames, innermost first; it keeps their code alive, so that its key stays unique."""

    __slots__ = ("codes", "offsets", "sites")

    def __init__(
        self, sites: tuple[Site, ...], codes: tuple[CodeType, ...], offsets: tuple[int, ...]
    ) -> None:
        self.sites = sites
        self.codes = codes
        self.offsets = offsets  # of the instruction in each code


UNKNOWN = Stack((Site("<unknown>", 0, "?"),), (), ())


class Classifier:
    """Classifies source files by their path; the results are cached."""

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        self._plumbing = [AGENT]
        self._frameworks = {_STDLIB + name for name in _DISPATCHERS}
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
        """Classify a code object's file, once: it takes some microseconds."""
        found = self.kinds.get(filename)
        if found is None:
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
        if any(mark in path for mark in _INSTALLED) or path.startswith(_SCRIPTS):
            return LIBRARY
        if not os.path.isabs(filename) and not os.path.isfile(path):
            return LIBRARY  # compiled elsewhere, as modules of Cython are
        return PLUMBING if path.startswith(_STDLIB) else APPLICATION


@lru_cache(maxsize=10_000)
def is_of(package: str, file: str) -> bool:
    """Whether a file is a library's, and not in a folder of that name that a service has for its own code."""
    if any(f"{mark}{package}{os.sep}" in file for mark in _INSTALLED):
        return True
    found = getattr(sys.modules.get(package), "__file__", None)  # it may lie elsewhere
    return found is not None and file.startswith(os.path.dirname(os.path.abspath(found)) + os.sep)


def from_package(file: str) -> str | None:
    """Return the path of an installed file from its package on, as `shop/api/common.py`; else None."""
    starts = [at + len(mark) for mark in _INSTALLED if (at := file.rfind(mark)) >= 0]
    return file[max(starts) :] if starts else None
