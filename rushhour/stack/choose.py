"""Which stack a run takes (pure): Compose where it can be brought up, otherwise embedded, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rushhour.errors import StackError

Asked = Literal["auto", "embedded", "compose"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A stack, and one line that says why it was taken; empty when it was named."""

    name: Literal["embedded", "compose"]
    why: str


def choose_stack(asked: Literal["auto", "compose"], prepare_compose: Callable[[], str]) -> Choice:
    """`prepare_compose` says what there is, or raises StackError that says what is missing.

    A stack that was named is taken or fails: only `auto` falls back.
    """
    match asked:
        case "compose":
            prepare_compose()
            return Choice("compose", "")
        case "auto":
            try:
                found = prepare_compose()
            except StackError as error:
                return Choice("embedded", f"Stack: embedded, since {str(error).splitlines()[0].rstrip(':')}.")
            return Choice("compose", f"Stack: compose ({found}).")
