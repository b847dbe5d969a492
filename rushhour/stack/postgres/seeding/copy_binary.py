"""Rows in PostgreSQL's binary COPY format, and a fast way to make many that are alike.

Format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

from collections.abc import Callable, Iterable
from typing import Final, Literal

Kind = Literal["int4", "int8", "text", "timestamptz"]
Row = tuple[int | str, ...]  # a timestamptz is microseconds since 2000-01-01 UTC

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

_WIDTHS: Final[dict[Kind, int]] = {"int4": 4, "int8": 8, "timestamptz": 8}  # of numbers, in bytes


def encode(kinds: tuple[Kind, ...], rows: Iterable[Row]) -> bytes:
    """Encode rows one after another, without header and trailer; numbers are not negative."""
    field_count = len(kinds).to_bytes(2)
    widths = [_WIDTHS.get(kind, 0) for kind in kinds]
    out: list[bytes] = []
    for row in rows:
        out.append(field_count)
        for width, value in zip(widths, row, strict=True):
            field = value.encode() if isinstance(value, str) else value.to_bytes(width)
            out += (len(field).to_bytes(4), field)
    return b"".join(out)


class Pattern:
    """Makes the bytes of `rows(*at)`, whose numbers grow evenly with each coordinate and whose texts do not.

    All bytes are read as one big integer: adding `slope * coordinate` then adds to every field of every row
    at once, at the speed of C. No field carries into its neighbour, since none outgrows its width.
    """

    def __init__(
        self, kinds: tuple[Kind, ...], rows: Callable[..., Iterable[Row]], dimensions: int = 1
    ) -> None:
        self._kinds = kinds
        self._rows = rows
        self._at = self._origin = (0,) * dimensions
        first = encode(kinds, rows(*self._origin))
        self._length = len(first)
        self._value = self._first = int.from_bytes(first)
        self._slopes: dict[int, int] = {}

    def at(self, *at: int) -> bytes:
        """Return the same bytes as `encode(kinds, rows(*at))`."""
        # From where the last call left off: rows are mostly asked for in order, and adding once costs half of
        # multiplying and adding.
        for axis, (before, now) in enumerate(zip(self._at, at, strict=True)):
            if now != before:
                slope = self._slope(axis)
                self._value += slope if now == before + 1 else (now - before) * slope
        self._at = at
        return self._value.to_bytes(self._length)

    def _slope(self, axis: int) -> int:
        """Return the slope, found when it is first needed, so that the first rows are there at once."""
        if axis not in self._slopes:
            step = tuple(int(axis == other) for other in range(len(self._origin)))
            self._slopes[axis] = int.from_bytes(encode(self._kinds, self._rows(*step))) - self._first
        return self._slopes[axis]
