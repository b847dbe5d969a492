"""How unequally the values of a parameter are asked for, by rank and without the values (bounded memory)."""

import math
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Final

MOST_VALUES: Final = 50_000  # beyond, values seen once are forgotten; they are counted still
BANDS: Final = (1, 10, 100, 1_000, 10_000)  # ranks at which the share of requests is given
_BITS: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Skew:
    """Ranks instead of values: which share of requests goes to the hottest 1, 10, 100, ... of them."""

    distinct: int
    estimated: bool  # the number of distinct values is an estimate
    bands: tuple[tuple[int, float], ...]  # (rank, share of requests of all ranks up to it); ends with 1.0


class IdFold:
    """Counts values. Keeps at most `MOST_VALUES` of them, and nothing once it has been asked for the skew."""

    __slots__ = ("_bitmap", "_counts", "_forgotten", "_most")

    def __init__(self, most: int = MOST_VALUES) -> None:
        self._counts: Counter[str] = Counter()
        self._bitmap: bytearray | None = None
        self._forgotten = 0
        self._most = most

    def add(self, value: str, requests: int = 1) -> None:
        """Count a value."""
        if self._bitmap is not None and value not in self._counts:
            self._mark(value)
        self._counts[value] += requests
        if len(self._counts) > self._most:
            self._forget()

    def merge(self, other: "IdFold") -> None:
        """Add the counts of another fold."""
        if other._bitmap is not None:
            self._start()
            assert self._bitmap is not None  # noqa: S101 - `_start` sets it
            for at, byte in enumerate(other._bitmap):
                if byte:
                    self._bitmap[at] |= byte
            self._forgotten += other._forgotten
        for value, requests in other._counts.items():
            self.add(value, requests)

    def skew(self) -> Skew | None:
        """The skew so far; None where no value was seen."""
        total = self._forgotten + self._counts.total()
        if not total:
            return None
        distinct = self._distinct()
        bands: list[tuple[int, float]] = []
        running, ranks = 0, iter(BANDS)
        upto = next(ranks)
        for rank, (_, requests) in enumerate(self._counts.most_common(BANDS[-1]), 1):
            running += requests
            if rank == upto and rank < distinct:
                bands.append((rank, running / total))
                upto = next(ranks, 0)
        return Skew(distinct, self._bitmap is not None, (*bands, (distinct, 1.0)))

    def _distinct(self) -> int:
        if self._bitmap is None:
            return len(self._counts)
        empty = _BITS - sum(byte.bit_count() for byte in self._bitmap)
        return max(len(self._counts), round(-_BITS * math.log(max(empty, 1) / _BITS)))

    def _forget(self) -> None:
        """Drop the rarest values; the bitmap goes on counting how many there are."""
        self._start()
        least = min(self._counts.values())
        dropped = [value for value, requests in self._counts.items() if requests == least]
        for value in dropped:
            del self._counts[value]
        self._forgotten += least * len(dropped)

    def _start(self) -> None:
        if self._bitmap is None:
            self._bitmap = bytearray(_BITS // 8)
            for value in self._counts:
                self._mark(value)

    def _mark(self, value: str) -> None:
        assert self._bitmap is not None  # noqa: S101 - callers made it
        place = zlib.crc32(value.encode("utf-8", "replace")) * 0x9E3779B97F4A7C15 >> 20 & _BITS - 1
        self._bitmap[place >> 3] |= 1 << (place & 7)
