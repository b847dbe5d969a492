"""Decodes and merges latency histograms, and reads percentiles from them (pure)."""

import binascii
import ctypes
import functools
import sys
import zlib
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from hdrh.codec import ext_header_size, payload_header_size
from hdrh.histogram import HdrHistogram
from pyhdrh import add_array, decode

from rushhour.errors import RunDataError

LOWEST_US: Final = 1
HIGHEST_US: Final = 300_000_000  # five minutes
SIGNIFICANT_DIGITS: Final = 3
MOST_BYTES: Final = 1_000_000  # of an encoded histogram: 20,000 counters of at most nine bytes
_SLICE: Final = 2048  # counters that are added up at a time
_LENGTH_AT: Final = 4  # in either header of an encoded histogram: after a cookie of four bytes


def new_histogram() -> HdrHistogram:
    """Return an empty histogram of microseconds, in the format of `facts.RequestCount.latency`."""
    return HdrHistogram(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS)


def merge(encoded: Iterable[str]) -> HdrHistogram:
    """Merge encoded histograms into one. Raises RunDataError on text that is not an encoded histogram."""
    merger = Merger()
    merger.add(encoded)
    return merger.result()


class Merger:
    """Adds encoded histograms up with the library's codec, but without a histogram of its own for each.

    `HdrHistogram.decode_and_add` makes one with 20,000 counters, of which a second's requests fill some
    twenty: a run of an hour with a hundred endpoints has 360,000 of them. A merger may be used again after
    `reset`, because a histogram is only freed by the garbage collector.
    """

    def __init__(self) -> None:
        self._merged = new_histogram()
        self._scratch = new_histogram()  # its counters are 0 between two texts
        self._from = ctypes.addressof(self._scratch.counts)
        self._to = ctypes.addressof(self._merged.counts)
        self._lowest, self._highest, self._total = self._merged.counts_len, -1, 0

    def reset(self) -> None:
        """Forget all that was added, also after an error."""
        for histogram in (self._merged, self._scratch):
            ctypes.memset(histogram.counts, 0, ctypes.sizeof(histogram.counts))
            histogram.total_count, histogram.min_value, histogram.max_value = 0, sys.maxsize, 0
        self._lowest, self._highest, self._total = self._merged.counts_len, -1, 0

    def add(self, encoded: Iterable[str]) -> None:
        """Add encoded histograms. Raises RunDataError on text that is none."""
        for text in encoded:
            try:  # hdrh raises five unrelated kinds of error here
                self._add(text)
            except Exception as error:
                raise RunDataError(
                    f"not an HDR histogram: {text[:40]!r}: {type(error).__name__}: {error}"
                ) from error

    def result(self) -> HdrHistogram:
        """Return the merged histogram; nothing may be added afterwards."""
        if self._total:
            found = self._scratch
            found.set_internal_tacking_values(self._lowest, self._highest, self._total)
            merged = self._merged
            merged.total_count += self._total
            merged.max_value = max(merged.max_value, found.get_max_value())
            merged.min_value = min(merged.get_min_value(), found.get_min_value())
        return self._merged

    def _add(self, text: str) -> None:
        ours, packed = _settings(), binascii.a2b_base64(text)
        if packed[:_LENGTH_AT] != ours[0] or int.from_bytes(packed[4:8]) != len(packed) - ext_header_size:
            inflated(packed[ext_header_size:])
            self._merged.decode_and_add(text)
            return
        payload = inflated(packed[ext_header_size:])
        if (payload[:_LENGTH_AT], payload[8:payload_header_size]) != ours[1:]:
            self._merged.decode_and_add(text)  # other settings than ours, or damaged: it knows what to do
            return
        word = self._scratch.word_size
        found = decode(payload, payload_header_size, self._from, self._scratch.counts_len, word)
        if not found["total"]:
            return
        lowest, highest = found["min_nonzero_index"], found["max_nonzero_index"]
        at, filled = lowest * word, highest - lowest + 1
        add_array(self._to + at, self._from + at, filled, word)
        ctypes.memset(self._from + at, 0, filled * word)
        self._total += found["total"]
        self._lowest, self._highest = min(self._lowest, lowest), max(self._highest, highest)


def inflated(packed: bytes) -> bytes:
    """Decompress a histogram, as few bytes can hold gigabytes. Raises ValueError where it is too large."""
    stream = zlib.decompressobj()
    payload = stream.decompress(packed, MOST_BYTES)
    if not stream.eof:
        raise ValueError(f"cut, or larger than {MOST_BYTES:,} bytes")
    return payload


@functools.cache
def _settings() -> tuple[bytes, bytes, bytes]:
    """Return what all our encoded histograms have in common: cookies, offset, range, significant figures."""
    packed = binascii.a2b_base64(new_histogram().encode())
    payload = zlib.decompress(packed[ext_header_size:])
    return packed[:_LENGTH_AT], payload[:_LENGTH_AT], payload[8:payload_header_size]


def percentile_ms(histogram: HdrHistogram, percentile: float) -> float | None:
    """Return the percentile (0 to 100) in milliseconds, or None when the histogram is empty."""
    if not histogram.get_total_count():
        return None
    rank = histogram.get_target_count_at_percentile(percentile)
    for first in range(0, histogram.counts_len, _SLICE):  # hdrh calls a method for each of 20,000 counters
        counts = histogram.counts[first : first + _SLICE]
        within = sum(counts)
        if within >= rank:
            at = first + bisect_left([*accumulate(counts)], rank)
            value = histogram.get_value_from_index(at)
            if percentile:
                return float(histogram.get_highest_equivalent_value(value)) / 1000
            return float(histogram.get_lowest_equivalent_value(value)) / 1000
        rank -= within
    return 0.0


def count_above(histogram: HdrHistogram, bound_ms: float) -> int:
    """Return how many values are above a bound, to three significant digits."""
    first = histogram.get_counts_array_index(min(int(bound_ms * 1000), HIGHEST_US)) + 1
    return sum(histogram.counts[first : histogram.counts_len])
