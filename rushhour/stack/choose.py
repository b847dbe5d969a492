"""Chooses the stack of a run (pure): Compose if it can be brought up, otherwise embedded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rushhour.errors import StackError

Asked = Literal["auto", "embedded", "compose"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A stack, and why it was chosen; `why` is empty if the user named the stack."""

    name: Literal["embedded", "compose"]
    why: str


def choose_stack(asked: Literal["auto", "compose"], prepare_compose: Callable[[], str]) -> Choice:
    """Choose the stack. `prepare_compose` describes the engine, or raises StackError if one is missing.

    Only `auto` falls back to the embedded stack; a stack that the user named is used or fails.
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
