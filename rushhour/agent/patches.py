"""Methods of a framework replaced while the agent is in the process, and put back."""

from collections.abc import Callable
from typing import Any


class Patches:
    """What was replaced, in order; `remove` puts back the originals, the last one first."""

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
