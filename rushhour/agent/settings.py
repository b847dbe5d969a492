"""Knows what settings of a module keep its functions from: the branches that a condition on one closes."""

from __future__ import annotations

import re
from functools import lru_cache
from operator import not_
from typing import TYPE_CHECKING, Any

from .flow import MAX_PLACES

if TYPE_CHECKING:
    import dis
    from collections.abc import Callable, Mapping, Sequence
    from types import CodeType

    from .flow import Step

_CONSTANTS = ("LOAD_CONST", "LOAD_SMALL_INT")
_PLAIN = (bool, int, float, str, type(None))
_JUMPS: dict[str, Callable[[Any], bool]] = {
    "_IF_TRUE": bool,
    "_IF_FALSE": not_,
    "_IF_NONE": lambda value: value is None,
    "_IF_NOT_NONE": lambda value: value is not None,
}


def closed_by_settings(code: CodeType, of_module: Mapping[str, Any]) -> frozenset[Step]:
    """Return the steps that settings of its module keep a function from, as `if ENDS_SESSIONS:` does.

    A setting is a variable with a plain value that no function of the module sets.
    """
    return frozenset(
        (number, number + 1 if jumps_if(of_module[name]) else target)
        for number, target, name, jumps_if in _conditions_of(code)
        if type(of_module.get(name, ...)) in _PLAIN and not _is_set_again(code.co_filename, name)
    )


@lru_cache(maxsize=MAX_PLACES)
def _is_set_again(file: str, name: str) -> bool:
    """Whether a function of a file may set a variable of its module; True where the file cannot be read."""
    import linecache  # noqa: PLC0415  # most services never come here

    says = re.compile(rf"\s*global\b.*\b{name}\b")
    lines = linecache.getlines(file)
    return not lines or any(says.match(line) for line in lines)


@lru_cache(maxsize=MAX_PLACES)
def _conditions_of(code: CodeType) -> tuple[tuple[int, int, str, Callable[[Any], bool]], ...]:
    """The jumps on a variable of the module: their numbers, where to, of what, and for which values."""
    import dis  # noqa: PLC0415  # most services never come here

    items = list(dis.get_instructions(code))
    numbers = {item.offset: number for number, item in enumerate(items)}
    found: list[tuple[int, int, str, Callable[[Any], bool]]] = []
    condition: list[dis.Instruction] = []
    for number, item in enumerate(items):
        if item.opname == "LOAD_GLOBAL":
            condition = [item]
        elif item.opname.startswith("POP_JUMP"):
            jumps_if = _holds(condition[1:], item)
            if condition and jumps_if is not None:
                found.append((number, numbers[item.argval], str(condition[0].argval), jumps_if))
            condition = []
        elif condition and item.opname not in ("TO_BOOL", "EXTENDED_ARG", "CACHE"):
            condition.append(item)
    return tuple(found)


def _holds(then: Sequence[dis.Instruction], jump: dis.Instruction) -> Callable[[Any], bool] | None:
    """Return for which values of what was loaded, and compared with a constant at most, a jump is taken."""
    jumps_if = next((how for end, how in _JUMPS.items() if jump.opname.endswith(end)), None)
    if jumps_if is None or not then:
        return jumps_if
    if [item.opname for item in then[1:]] != ["COMPARE_OP"] or then[0].opname not in _CONSTANTS:
        return None
    constant, same = then[0].argval, {"==": True, "!=": False}.get(then[1].argval)
    return None if same is None else lambda value: jumps_if((value == constant) is same)
