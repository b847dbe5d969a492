"""Counts the exceptions that a locustfile raises, by their type and the line of the locustfile."""

import sysconfig
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

from rushhour.load.messages import Raised

MESSAGE_LENGTH: Final = 200
_LIBRARIES: Final = tuple(
    {str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")}
)


class Exceptions:
    """Counts the exceptions of a Locust process since the last `take`."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._messages: dict[
            tuple[str, str], str
        ] = {}  # the first message of each; later messages may differ

    def add(self, exception: BaseException, tb: TracebackType | None) -> None:
        """Count an exception."""
        key = (type(exception).__name__, line_of(tb))
        self._counts[key] = self._counts.get(key, 0) + 1
        self._messages.setdefault(key, " ".join(str(exception).split())[:MESSAGE_LENGTH])

    def take(self, t_s: float, worker: str) -> tuple[Raised, ...]:
        """Return the exceptions counted since the last call."""
        counts, self._counts = self._counts, {}
        return tuple(
            Raised(round(t_s, 4), worker, error, self._messages[error, where], where, count)
            for (error, where), count in counts.items()
        )


def line_of(tb: TracebackType | None) -> str:
    """Return the innermost line outside of libraries, as in "customers.py:12 in list_items"."""
    frames = traceback.extract_tb(tb)
    if not frames:
        return "an unknown line"
    own = [frame for frame in frames if not is_library(frame.filename)]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"


def is_library(filename: str) -> bool:
    """Return whether a source file belongs to Python or to an installed package."""
    if filename.startswith("<"):
        return True
    path = Path(filename).resolve()
    return "site-packages" in path.parts or any(path.is_relative_to(folder) for folder in _LIBRARIES)
