"""Tells where a function may go from an instruction, round a loop or out of it, and what it may read then."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

from .frames import GENERATOR

if TYPE_CHECKING:
    import dis
    from collections.abc import Collection, Iterable, Sequence
    from types import CodeType

    Step = tuple[int, int]  # from the number of an instruction to that of one that may follow

MAX_PLACES = 2_000
# The instruction after one of these does not follow it.
_ENDS = (
    "RETURN_VALUE",
    "RETURN_CONST",
    "RAISE_VARARGS",
    "RERAISE",
    "JUMP_FORWARD",
    "JUMP_BACKWARD",
    "JUMP_ABSOLUTE",
)
_NOTHING = ("NOP", "NOT_TAKEN")  # as the line of `while True`
_SETS = ("STORE_FAST", "DELETE_FAST", "STORE_NAME", "DELETE_NAME")
_ADDS = ("LIST_APPEND", "SET_ADD", "MAP_ADD")  # of comprehensions, and of `[*others, this]`
# Where a coroutine is while another one that it awaits runs, or waits.
AWAITS = ("LOAD_CONST", "SEND", "YIELD_VALUE", "RESUME", "JUMP_BACKWARD_NO_INTERRUPT")


def offsets_ahead(code: CodeType, lasti: int, closed: Collection[Step] = ()) -> set[int]:
    """Where a function may come to from an instruction if nothing is raised, and no closed step is taken.

    From its start if the instruction is -1.
    """
    import dis  # noqa: PLC0415  # most services never come here

    items = list(dis.get_instructions(code))
    at = _number_at(items, lasti)
    further = [
        [other for other in others if (number, other) not in closed]
        for number, others in enumerate(_further(items))
    ]
    return {items[number].offset for number in _reached(further, further[at] if at >= 0 else [0])}


def _reached(further: Sequence[Sequence[int]], begin: Iterable[int], past: int = -1) -> set[int]:
    """The numbers of these instructions and of all that may follow, but `past` and what only it leads to."""
    seen, ahead = set[int](), [*begin]
    while ahead:
        number = ahead.pop()
        if number not in seen and number != past:
            seen.add(number)
            ahead += further[number]
    return seen


def _number_at(items: Sequence[dis.Instruction], lasti: int) -> int:
    return bisect_right([item.offset for item in items], lasti) - 1


def _further(items: Sequence[dis.Instruction]) -> list[list[int]]:
    """The numbers of the instructions that may follow each one if nothing is raised."""
    import dis  # noqa: PLC0415  # as above

    numbers = {item.offset: number for number, item in enumerate(items)}
    looped = [number for number, item in enumerate(items) if item.opname == "END_ASYNC_FOR"]
    jumps = {*dis.hasjrel, *dis.hasjabs}
    found = []
    for number, item in enumerate(items):
        further = [] if item.opname.startswith(_ENDS) else [number + 1]
        if item.opcode in jumps:
            further.append(numbers.get(item.argval, len(items)))
        elif item.opname == "GET_ANEXT":
            further += looped  # an exception ends such a loop
        found.append([other for other in further if other < len(items)])
    return found


@lru_cache(maxsize=MAX_PLACES)
def loops_around(code: CodeType, lasti: int) -> int:
    """Return in how many loops of its function, one inside another, an instruction lies."""
    here = _offset_at(code, lasti)
    return len({head for head, body in _loops_of(code) if here in body})


@lru_cache(maxsize=MAX_PLACES)
def goes_round(code: CodeType, lasti: int) -> bool:
    """Whether an instruction lies in a loop, but in no comprehension, which keeps what it has made."""
    here = _offset_at(code, lasti)
    return loops_around(code, lasti) > 0 and not any(here in loop for loop in _comprehensions_of(code))


@lru_cache(maxsize=MAX_PLACES)
def variables_read(code: CodeType, lasti: int) -> frozenset[str]:
    """Return the variables of a function that it may yet read as they are now.

    Others it will set anew before, if it reads them at all. Those of inner functions are among them, and
    those that it has read in the same statement and may have at hand: `kept += [items.get()]`.
    """
    import dis  # noqa: PLC0415  # as above

    items, read = list(dis.get_instructions(code)), _reads_of(code)
    at = _number_at(items, lasti)
    ahead = _further(items)[at] if at >= 0 else [0]
    at_hand = (*_read_in_statement(items[:at]), *code.co_cellvars, *code.co_freevars)
    return frozenset(at_hand).union(*(read[other] for other in ahead))


def _read_in_statement(before: Sequence[dis.Instruction]) -> set[str]:
    """The variables that were read since the last statement ended, or somewhat earlier."""
    read = set[str]()
    for item in reversed(before):
        read.update(_read_by(item))
        if item.opname.startswith(("STORE_", "DELETE_", "POP_TOP", "RETURN_", "JUMP_BACKWARD")):
            break
    return read


@lru_cache(maxsize=MAX_PLACES)
def _reads_of(code: CodeType) -> tuple[frozenset[str], ...]:
    """Of each instruction the variables that it, or what follows it, may read as they are then."""
    import dis  # noqa: PLC0415  # as above

    items = list(dis.get_instructions(code))
    further = _further(items)
    uses = [(frozenset(_read_by(item)), frozenset(_set_by(item))) for item in items]
    read: list[frozenset[str]] = [frozenset()] * len(items)
    known = False
    while not known:
        known = True
        for number in reversed(range(len(items))):
            here, anew = uses[number]
            after = here.union(*(read[other] for other in further[number])) - anew
            if after != read[number]:
                read[number], known = after, False
    return tuple(read)


def _names_in(item: dis.Instruction) -> tuple[str, ...]:
    return item.argval if type(item.argval) is tuple else (str(item.argval),)


def _read_by(item: dis.Instruction) -> tuple[str, ...]:
    """The variables that an instruction reads; of those that store one and load the next, the next.

    A function's own, or those of a module that is run as a script.
    """
    if item.opname.startswith(("LOAD_FAST", "LOAD_NAME")):
        return _names_in(item)
    return _names_in(item)[1:] if item.opname == "STORE_FAST_LOAD_FAST" else ()


def _set_by(item: dis.Instruction) -> tuple[str, ...]:
    """The variables that an instruction sets, or deletes, and does not read."""
    if item.opname == "STORE_FAST_LOAD_FAST":
        return _names_in(item)[:1]
    return _names_in(item) if item.opname.startswith(_SETS) else ()


@lru_cache(maxsize=MAX_PLACES)
def comes_round(code: CodeType, lasti: int, line: int, offset: int) -> bool:
    """Whether a function at this instruction has gone round a loop since it was at another place there.

    It is so where that one's line comes later in the loop, or is the same and its instruction comes later:
    what `work(engine.connect(), items.get())` has taken is in use while it waits. Lines come first, for the
    condition of a loop may be compiled twice, before and after what it repeats. It is so, too, where a loop
    ends with what it asks for its next round, as `while item: work(item); item = items.get()`. What a
    comprehension has taken it gathers.
    """
    import dis  # noqa: PLC0415  # as above

    here, there = _offset_at(code, lasti), _offset_at(code, offset)
    if any(here in loop and there in loop for loop in _comprehensions_of(code)):
        return False
    now = next((_line_of(item) for item in dis.get_instructions(code) if item.offset == here), None)
    around = [body for _, body in _loops_of(code) if here in body and there in body]
    if now is None or not around:
        return False
    return (line, offset) > (now, lasti) or any(_ends_round(code, lasti, body) for body in around)


def _ends_round(code: CodeType, lasti: int, loop: frozenset[int]) -> bool:
    """Whether a loop, after what an instruction returns, does no more than begin a round that uses it.

    What only the loop's condition reads, or a first line that may leave it, may say how this round went.
    """
    import dis  # noqa: PLC0415  # as above

    items = list(dis.get_instructions(code))
    further, at = _further(items), _number_at(items, lasti)
    lines = [_line_of(item) for item in items]
    inside = [number for number, item in enumerate(items) if item.offset in loop]
    back = {lines[one] for one in inside if one > at and any(other <= at for other in further[one])}
    leaves = {lines[one] for one in inside if any(items[other].offset not in loop for other in further[one])}
    seen, ahead, kept, begins = {at}, list(further[at]), set[str](), set[int]()
    while ahead:
        number = ahead.pop()
        if number in seen or items[number].offset not in loop:
            continue
        seen.add(number)
        after = number > at or items[number].opname in AWAITS
        if items[number].opname in _NOTHING:
            ahead += further[number]
        elif lines[number] in ({lines[at], *back} if after else leaves):
            kept.update(_set_by(items[number]) if after else ())
            ahead += further[number]
        else:
            begins.add(number)
    reads = _reads_of(code)
    return bool(begins) and all(number < at and kept & reads[number] for number in begins)


@lru_cache(maxsize=MAX_PLACES)
def has_left(code: CodeType, lasti: int, offset: int) -> bool:
    """Whether a function at an instruction cannot have been at another one before in the same call.

    Then the call that was there is over. False for a generator: another one may be kept, at any place.
    """
    import dis  # noqa: PLC0415  # as above

    if code.co_flags & GENERATOR:
        return False
    items = list(dis.get_instructions(code))
    further, there = _further_or_raised(code, items), _number_at(items, offset)
    return there >= 0 and _number_at(items, lasti) not in _reached(further, further[there])


@lru_cache(maxsize=MAX_PLACES)
def is_same_call(code: CodeType, lasti: int, offset: int) -> bool:
    """Whether two instructions of a function are those of one call, or of one `await`."""
    import dis  # noqa: PLC0415  # as above

    first, last = sorted((lasti, offset))
    return all(
        item.opname in AWAITS for item in dis.get_instructions(code) if first <= item.offset <= last
    ) or _offset_at(code, lasti) == _offset_at(code, offset)


@lru_cache(maxsize=MAX_PLACES)
def _loops_of(code: CodeType) -> list[tuple[int, frozenset[int]]]:
    """Where each loop begins, and its instructions; a loop is there as often as it is jumped back in.

    An instruction that is also reached past the one to which it jumps back makes no loop: the handler of an
    exception may stand at the end of a function, and jump back to what follows its block.
    """
    import dis  # noqa: PLC0415  # as above

    items = list(dis.get_instructions(code))
    numbers = {item.offset: number for number, item in enumerate(items)}
    further = _further_or_raised(code, items)
    before: list[list[int]] = [[] for _ in items]
    for number, others in enumerate(further):
        for other in others:
            before[other].append(number)
    heads, bodies = dict[int, int](), list[tuple[int, set[int]]]()
    for number, item in enumerate(items):
        if "JUMP" not in item.opname or item.opname.endswith("NO_INTERRUPT"):  # every `await` has one
            continue
        target = numbers.get(item.argval, len(items)) if type(item.argval) is int else len(items)
        if target <= number and number not in _reached(further, [0], past=target):
            bodies.append((target, {target, *_reached(before, [number], past=target)}))
            heads[target] = min(_head(items, number, target), heads.get(target, target))
    return [(heads[target], frozenset(items[number].offset for number in body)) for target, body in bodies]


@lru_cache(maxsize=MAX_PLACES)
def _comprehensions_of(code: CodeType) -> list[frozenset[int]]:
    """The instructions of each loop whose rounds add to a list, set or dictionary that has no name yet.

    What adds to it says how far below on the stack that is: one further for each loop of the comprehension.
    """
    import dis  # noqa: PLC0415  # as above

    loops = dict[int, frozenset[int]]()
    for head, body in _loops_of(code):
        loops[head] = body | loops.get(head, frozenset())
    found = []
    for item in dis.get_instructions(code):
        if item.opname in _ADDS:
            around = sorted((body for body in loops.values() if item.offset in body), key=len)
            found += around[: (item.arg or 1) - 1]
    return found


@lru_cache(maxsize=MAX_PLACES)
def never_returns(code: CodeType, lasti: int) -> bool:
    """Whether a function can only be left by an exception, from an instruction on."""
    import dis  # noqa: PLC0415  # as above

    items = list(dis.get_instructions(code))
    ahead = _reached(_further_or_raised(code, items), [_number_at(items, lasti)])
    return not any(items[number].opname.startswith("RETURN_") for number in ahead)


def _further_or_raised(code: CodeType, items: Sequence[dis.Instruction]) -> list[list[int]]:
    """The numbers of the instructions that may follow each one, those that handle its exceptions included."""
    import dis  # noqa: PLC0415  # as above

    further = _further(items)
    numbers = {item.offset: number for number, item in enumerate(items)}
    for block in getattr(dis.Bytecode(code), "exception_entries", ()):  # not documented
        for number, item in enumerate(items):
            if block.start <= item.offset < block.end:
                further[number].append(numbers[block.target])
    return further


def _head(items: Sequence[dis.Instruction], jump: int, target: int) -> int:
    """The number of the instruction with which a loop begins.

    The condition of `while` may be compiled twice: `continue` jumps to the first, and the second, at the
    end, jumps behind the first.
    """
    line = _line_of(items[jump])
    if line is None or line == _line_of(items[target]):
        return target
    return min(target, next(number for number, item in enumerate(items) if _line_of(item) == line))


def _line_of(item: dis.Instruction) -> int | None:
    return item.positions.lineno if item.positions is not None else None


def _offset_at(code: CodeType, lasti: int) -> int | None:
    """Where an instruction begins: a call is left at the end of what the interpreter caches for it."""
    import dis  # noqa: PLC0415  # as above

    return max((item.offset for item in dis.get_instructions(code) if item.offset <= lasti), default=None)
