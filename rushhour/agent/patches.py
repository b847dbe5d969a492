"""Replaces methods of a framework, and restores them."""

from collections.abc import Callable
from typing import Any


class Patches:
    """Replaces methods; `remove` restores the originals in reverse order."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def _wrap(self, owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        replacement = wrapper(original)
        replacement.__name__, replacement.__doc__ = name, original.__doc__
        setattr(owner, name, replacement)
        self._undo.append(lambda: setattr(owner, name, original))

    def remove(self) -> None:
        while self._undo:
            self._undo.pop()()
