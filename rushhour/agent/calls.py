"""Names the function that a frame is calling, where that is written in C and has no frame of its own."""

from __future__ import annotations

import sys
from functools import lru_cache
from types import CellType
from typing import TYPE_CHECKING, Any

from .flow import AWAITS, offsets_ahead
from .frames import attributes_of, local_of, variables_of
from .settings import closed_by_settings

if TYPE_CHECKING:
    import dis
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from .flow import Step

ITERATES = "for"  # at the head of a loop
ENTERS = "with"  # at the start of a block, of which `__enter__` is called
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
# From Python 3.13 on one instruction may store or load a variable, and load the next.
_VARIABLES = ("STORE_FAST_LOAD_FAST", "LOAD_FAST", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF")
_BEFORE_CALL = 8  # instructions between a method's name and its call, where no columns are known
_MAX_PLACES = 2_000

_Path = tuple[
    str, ...
]  # ("self", "done", "wait") of `self.done.wait(3)`; only its end, where more is computed
# Where the interpreter lets another thread have its turn, other than in a call: at the start of a function
# and at the end of a loop's round. Whoever waits for something never stands there.
_TURNS = ("RESUME", "JUMP_BACKWARD", "POP_JUMP_BACKWARD", "JUMP_ABSOLUTE")


def called_at(code: CodeType, lasti: int) -> str | None:
    """Return the name that is called at an instruction, `for` and `with` included; None if unknown."""
    path = _path_at(code, lasti)
    return path[-1] if path else None


@lru_cache(maxsize=_MAX_PLACES)
def awaited_at(code: CodeType, lasti: int) -> str | None:
    """Return the name whose result a coroutine awaits at an instruction; None if unknown."""
    import dis  # noqa: PLC0415  # as below

    before = [item for item in dis.get_instructions(code) if item.offset <= lasti]
    while before and before[-1].opname in AWAITS:
        before.pop()
    if not before or before.pop().opname != "GET_AWAITABLE":
        return None
    return called_at(code, before[-1].offset) if before else None


@lru_cache(maxsize=_MAX_PLACES)
def iterates(code: CodeType, lasti: int) -> bool:
    """Whether a function waits at an instruction for what a loop over an iterator is given next."""
    import dis  # noqa: PLC0415  # as below

    before = [item.opname for item in dis.get_instructions(code) if item.offset <= lasti]
    return bool(before) and (before[-1].startswith("FOR_ITER") or "GET_ANEXT" in before[-_BEFORE_CALL:])


def computes(frame: FrameType) -> bool:
    """Whether a thread runs Python code here, or would if it were its turn; False where that is not known."""
    return _takes_turns(frame.f_code, frame.f_lasti)


@lru_cache(maxsize=_MAX_PLACES)
def _takes_turns(code: CodeType, lasti: int) -> bool:
    import dis  # noqa: PLC0415  # as below

    name = next((item.opname for item in dis.get_instructions(code) if item.offset == lasti), "")
    return name.startswith(_TURNS) and not name.endswith("NO_INTERRUPT")


def receiver_of(frame: FrameType) -> Any:
    """Return the object whose method is being called, if it is a variable or its attribute; else None."""
    path = _path_at(frame.f_code, frame.f_lasti)
    return _resolved(frame, path[:-1], local_of(frame, path[0])) if len(path) > 1 and path[0] else None


def has_arguments(frame: FrameType) -> bool:
    """Return whether something is handed to the function that a frame calls; True where that is not known."""
    return _hands_over(frame.f_code, frame.f_lasti)


@lru_cache(maxsize=_MAX_PLACES)
def _hands_over(code: CodeType, lasti: int) -> bool:
    import dis  # noqa: PLC0415  # as below

    before = [item for item in dis.get_instructions(code) if item.offset <= lasti]
    return not before or before[-1].opname == "CALL_FUNCTION_EX" or before[-1].arg != 0


def methods_named(frame: FrameType, verbs: frozenset[str]) -> Iterator[tuple[Any, str, str]]:
    """Yield what a function may yet call one of these methods of: the object, the method, the variable."""
    code = frame.f_code
    if verbs.isdisjoint(code.co_names):
        return
    paths = _methods_ahead(code, frame.f_lasti, verbs, closed_by_settings(code, frame.f_globals))
    variables = variables_of(frame, *(path[0] for path in paths)) if paths else []
    for path, variable in zip(paths, variables or [None] * len(paths), strict=True):
        found = _resolved(frame, path[:-1], variable)
        if found is not None:
            yield found, path[-1], path[0]


def may_call(code: CodeType, verbs: frozenset[str]) -> bool:
    """Return whether a function may come to one of these names, from its start on."""
    if verbs.isdisjoint(code.co_names):
        return False
    return _comes_to(code, verbs, closed_by_settings(code, _variables_of_module(code.co_filename)))


@lru_cache(maxsize=_MAX_PLACES)
def _variables_of_module(file: str) -> dict[str, Any]:
    modules = (module for module in [*sys.modules.values()] if attributes_of(module).get("__file__") == file)
    return next((attributes_of(module) for module in modules), {})


@lru_cache(maxsize=_MAX_PLACES)
def _comes_to(code: CodeType, verbs: frozenset[str], closed: frozenset[Step]) -> bool:
    import dis  # noqa: PLC0415  # as below

    ahead = offsets_ahead(code, -1, closed)
    return any(
        item.offset in ahead and type(item.argval) is str and item.argval in verbs
        for item in dis.get_instructions(code)
    )


def _resolved(frame: FrameType, path: _Path, found: Any) -> Any:
    """Return what a variable, and attributes of it, refer to now; None if nothing does."""
    if type(found) is CellType:
        try:
            found = found.cell_contents
        except ValueError:
            return None
    if found is None:
        found = frame.f_globals.get(path[0])
    for name in path[1:]:
        found = attributes_of(found).get(name)
    return found


@lru_cache(maxsize=_MAX_PLACES)
def _methods_ahead(
    code: CodeType, lasti: int, verbs: frozenset[str], closed: frozenset[Step]
) -> tuple[_Path, ...]:
    """The methods of its variables that a function may come to from where it stands: ("self", "done", "set").

    Where it goes on as planned: what only the handlers of exceptions call may never be called.
    """
    methods = _methods_of(code, verbs)
    ahead = offsets_ahead(code, lasti, closed) if methods else set()
    return tuple(dict.fromkeys(path for offset, path in methods if offset in ahead))


@lru_cache(maxsize=_MAX_PLACES)
def _methods_of(code: CodeType, verbs: frozenset[str]) -> tuple[tuple[int, _Path], ...]:
    """Where a function reads which of these methods of its variables, or of their attributes."""
    import dis  # noqa: PLC0415  # as below

    found: list[tuple[int, _Path]] = []
    path: _Path = ()
    for item in dis.get_instructions(code):
        if item.opname.startswith(_VARIABLES):
            path = (_last_variable(item),)
        elif item.opname.startswith(_ATTRIBUTES) and path:
            path = (*path, str(item.argval))
            if path[-1] in verbs:
                found.append((item.offset, path))
        elif item.opname not in ("CACHE", "PUSH_NULL", "NOP", "PRECALL", "EXTENDED_ARG"):
            path = ()
    return tuple(found)


@lru_cache(maxsize=_MAX_PLACES)
def _path_at(code: CodeType, lasti: int) -> _Path:
    import dis  # noqa: PLC0415  # most services never wait in such a call

    # A call of a function that is written in Python is left at the end of what the interpreter caches for it.
    before = [item for item in dis.get_instructions(code) if item.offset <= lasti]
    if not before:
        return ()
    instruction = before.pop()
    if instruction.opname == "BEFORE_WITH":  # until Python 3.13; its `__enter__` has no frame, so it is in C
        return ("", ENTERS)
    if instruction.opname.startswith("FOR_ITER"):
        return ("", ITERATES)
    if not instruction.opname.startswith(("CALL", "PRECALL")):
        return ()
    if before and before[-1].opname == "LOAD_SPECIAL" and "__enter__" in before[-1].argrepr:
        return ("", ENTERS)  # from Python 3.14 on
    return _callee(before, instruction)


def _callee(before: list[dis.Instruction], call: dis.Instruction) -> _Path:
    """Follow the source that begins where the call's begins: that of an argument begins further on."""
    where = call.positions
    if where is None or where.lineno is None:
        names = [str(item.argval) for item in before[-_BEFORE_CALL:] if item.opname in _ATTRIBUTES]
        return ("", *names[-1:]) if names else ()
    path: list[str] = []
    for item in reversed(before):
        at = item.positions
        if at is None or (at.lineno, at.col_offset) != (where.lineno, where.col_offset):
            if path and type(item.argval) is tuple and item.opname.startswith(_VARIABLES):
                return (_last_variable(item), *path)  # its place is that of the first of its two
            continue
        if item.opname.startswith(_ATTRIBUTES):
            path.insert(0, str(item.argval))
        elif item.opname.startswith(_VARIABLES):
            return (_last_variable(item), *path)
        elif path and item.opname not in ("PUSH_NULL", "PRECALL", "CACHE", "NOP"):
            break  # what it is called of is computed
    return ("", *path[-1:]) if path else ()


def _last_variable(item: dis.Instruction) -> str:
    """The variable that is on top after an instruction."""
    return str(item.argval[-1] if type(item.argval) is tuple else item.argval)
