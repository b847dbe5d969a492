"""Rows in PostgreSQL's binary COPY format, and a fast way to make many that are alike.

Format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

import struct
from collections.abc import Callable, Iterable
from operator import mul
from typing import Final, Literal

Kind = Literal["int4", "int8", "text", "timestamptz"]
Value = int | str
Row = tuple[Value, ...]  # a timestamptz is microseconds since 2000-01-01 UTC

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER: Final = struct.pack(">h", -1)

_INTEGER: Final = {"int4": ("ii", 4), "int8": ("iq", 8), "timestamptz": ("iq", 8)}  # layout, width


def encode(kinds: tuple[Kind, ...], rows: Iterable[Row]) -> bytes:
    """The rows one after another, without header and trailer."""
    layout = [">"]
    values: list[Value | bytes] = []
    for row in rows:
        layout.append("h")
        values.append(len(kinds))
        for kind, value in zip(kinds, row, strict=True):
            if isinstance(value, str):
                data = value.encode()
                layout.append(f"i{len(data)}s")
                values += (len(data), data)
            else:
                code, width = _INTEGER[kind]
                layout.append(code)
                values += (width, value)
    return struct.pack("".join(layout), *values)


class Pattern:
    """Makes the bytes of `rows(*at)`, whose numbers grow evenly with each coordinate and whose texts do not.

    All bytes are read as one big integer: adding `slope * coordinate` then adds to every field of every row
    at once, at the speed of C. No field carries into its neighbour, since none outgrows its width.
    """

    def __init__(
        self, kinds: tuple[Kind, ...], rows: Callable[..., Iterable[Row]], dimensions: int = 1
    ) -> None:
        def number(at: tuple[int, ...]) -> int:
            encoded = encode(kinds, rows(*at))
            self._length = len(encoded)
            return int.from_bytes(encoded)

        self._origin = number((0,) * dimensions)
        steps = [tuple(int(axis == step) for axis in range(dimensions)) for step in range(dimensions)]
        self._slopes = [number(step) - self._origin for step in steps]

    def at(self, *at: int) -> bytes:
        """The same bytes as `encode(kinds, rows(*at))`."""
        return sum(map(mul, self._slopes, at), start=self._origin).to_bytes(self._length)
