"""How unequally the values of a parameter are asked for, by rank and without the values (bounded memory)."""

import math
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Final

MOST_VALUES: Final = 50_000  # of a parameter; beyond, the rarest are forgotten, and counted still
MOST_OF_ALL: Final = 250_000  # of all parameters together
BANDS: Final = (1, 10, 100, 1_000, 10_000)  # ranks at which the share of requests is given
_KEPT: Final = 0.75  # of the values, when some are forgotten
_BITS: Final = 12  # 4,096 registers, which estimate a number of values within 1.6 % (standard error)
_WHOLE: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Skew:
    """Ranks instead of values: which share of requests goes to the hottest 1, 10, 100, ... of them."""

    distinct: int
    estimated: bool  # the number of distinct values is an estimate
    bands: tuple[tuple[int, float], ...]  # (rank, share of requests of all ranks up to it); ends with 1.0


class Kept:
    """How many values all parameters of a log keep together."""

    __slots__ = ("_folds", "_most", "total")

    def __init__(self, most: int = MOST_OF_ALL) -> None:
        self.total = 0
        self._most = most
        self._folds: list[IdFold] = []

    def fold(self) -> "IdFold":
        """A fold whose values count here."""
        made = IdFold(budget=self)
        self._folds.append(made)
        return made

    def make_room(self) -> None:
        """Let the largest folds forget values where all together are too many."""
        if self.total <= self._most:
            return
        for fold in sorted(self._folds, key=lambda one: one.kept, reverse=True):
            fold.forget()
            if self.total <= _KEPT * self._most:
                return


class IdFold:
    """Counts values. Keeps at most `most` of them; the number of all is estimated by a HyperLogLog sketch."""

    __slots__ = ("_budget", "_counts", "_forgotten", "_most", "_registers")

    def __init__(self, most: int = MOST_VALUES, budget: Kept | None = None) -> None:
        self._counts: Counter[str] = Counter()
        self._registers: bytearray | None = None
        self._forgotten = 0
        self._most = most
        self._budget = budget

    @property
    def kept(self) -> int:
        """How many values are kept."""
        return len(self._counts)

    def add(self, value: str, requests: int = 1) -> None:
        """Count a value."""
        counts = self._counts
        if value in counts:
            counts[value] += requests
            return
        if self._registers is not None:
            self._mark(self._registers, value)
        counts[value] = requests
        if self._budget is not None:
            self._budget.total += 1
            self._budget.make_room()
        if len(counts) > self._most:
            self.forget()

    def merge(self, other: "IdFold") -> None:
        """Add the counts of another fold, which counts nothing afterwards."""
        if other._registers is not None:
            mine = self._start()
            for at, rank in enumerate(other._registers):
                mine[at] = max(mine[at], rank)
            self._forgotten += other._forgotten
        if other._budget is not None:
            other._budget.total -= len(other._counts)
        moved, other._counts, other._forgotten = other._counts, Counter(), 0
        for value, requests in moved.items():
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
        return Skew(distinct, self._registers is not None, (*bands, (distinct, 1.0)))

    def forget(self) -> None:
        """Drop the rarest quarter of the values; the sketch goes on counting how many there are."""
        self._start()
        before = len(self._counts)
        kept = Counter(dict(self._counts.most_common(int(_KEPT * before))))
        self._forgotten += self._counts.total() - kept.total()
        self._counts = kept
        if self._budget is not None:
            self._budget.total -= before - len(kept)

    def _distinct(self) -> int:
        if self._registers is None:
            return len(self._counts)
        size = len(self._registers)
        raw = 0.7213 / (1 + 1.079 / size) * size * size / sum(2.0**-rank for rank in self._registers)
        if raw <= 2.5 * size and (empty := self._registers.count(0)):
            raw = size * math.log(size / empty)
        return max(len(self._counts), round(raw))

    def _start(self) -> bytearray:
        if self._registers is None:
            self._registers = bytearray(1 << _BITS)
            for value in self._counts:
                self._mark(self._registers, value)
        return self._registers

    @staticmethod
    def _mark(registers: bytearray, value: str) -> None:
        mixed = zlib.crc32(value.encode("utf-8", "replace")) * 0x9E3779B97F4A7C15 & _WHOLE
        mixed = (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9 & _WHOLE
        mixed ^= mixed >> 32
        at, rest = mixed >> (64 - _BITS), mixed & (1 << 64 - _BITS) - 1
        registers[at] = max(registers[at], 65 - _BITS - rest.bit_length())
