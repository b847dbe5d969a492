"""Waits with a deadline: polls a condition until it holds or the time is over.

tenacity is not used here: each caller would need a callback that builds the error message (what it waited
for, how long, what it saw last, what to do), and that callback would be longer than this loop.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from rushhour.errors import StackError

POLL_S: Final = 0.05


def came_true(condition: Callable[[], object], timeout_s: float, *, poll_s: float = POLL_S) -> bool:
    """Return whether the condition held in time; it is checked at least once, and again at the end."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(poll_s, left_s))
    return True


def wait_until(
    what: str,
    problem: Callable[[], str | None],
    timeout_s: float,
    advice: str,
    *,
    check: Callable[[], object] = lambda: None,
    tail: Callable[[], Sequence[str]] = tuple,
    poll_s: float = POLL_S,
) -> None:
    """Wait until `problem` returns None; until then it returns what it sees instead.

    `check` raises if waiting any longer is useless. Raises StackError at the deadline, with what was waited
    for, how long, what was seen last, the advice, and the lines that `tail` returns.
    """
    seen: str | None = "nothing"

    def solved() -> bool:
        nonlocal seen
        if (seen := problem()) is not None:
            check()
        return seen is None

    began_s = time.monotonic()
    if not came_true(solved, timeout_s, poll_s=poll_s):
        waited_s = time.monotonic() - began_s
        raise StackError(f"waited {waited_s:.1f} s for {what}; last seen: {seen}; {advice}", tail())
