"""Resamples of a run's seconds, all of its counts at once (pure).

Each second is one integer of 64-bit lanes: counts, and counts of latencies up to each bucket. Adding seconds
is then one addition of long integers, which the interpreter does in C: thousands of resamples a second
without an array library.
"""

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import Final, TypeAlias

LANE_BITS: Final = 64
_LANE_BYTES: Final = LANE_BITS // 8

Totals: TypeAlias = "array[int]"  # one number per lane


def pack(lanes: Sequence[int]) -> int:
    """Pack these numbers into an integer, each below 2^64 in every sum that is taken."""
    packed = array("Q", lanes)
    if sys.byteorder == "big":
        packed.byteswap()
    return int.from_bytes(packed.tobytes(), "little")


def unpack(packed: int, lanes: int) -> Totals:
    """Format the numbers of a comparison again."""
    found = array("Q")
    found.frombytes(packed.to_bytes(lanes * _LANE_BYTES, "little"))
    if sys.byteorder == "big":
        found.byteswap()
    return found


def resamples(
    seconds: Sequence[int], lanes: int, *, block: int, count: int, dice: Random
) -> Iterator[Totals]:
    """Yield the totals of `count` resamples, each as long as the run, made of blocks of neighbouring seconds.

    A circular block bootstrap (Politis and Romano 1992): blocks may run over the end into the start, so that
    the last seconds, which in a rush hour are the busiest, count as much as any other. Restricting a block to
    the neighbourhood of the one that it replaces was tried and leaves too few different resamples of a
    minute: its intervals were too narrow four times as often.
    """
    n = len(seconds)
    upto = [0, *accumulate([*seconds, *seconds[:block]])]
    whole = [upto[at + block] - upto[at] for at in range(n)]
    rest = n % block
    part = [upto[at + rest] - upto[at] for at in range(n)]
    random = dice.random
    for _ in range(count):
        total = sum([whole[int(random() * n)] for _ in range(n // block)])
        if rest:
            total += part[int(random() * n)]
        yield unpack(total, lanes)
