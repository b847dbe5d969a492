"""Encoded latency histograms -> a few hundred buckets that add up quickly (pure).

Two thousand resamples of a run ask for percentiles, so the twenty thousand counters of an HDR histogram are
too many. A bucket here is 1 % wide: an interval's ends are known to about half a per cent.
"""

import base64
import math
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Final

from rushhour.errors import RunDataError
from rushhour.metrics.latencies import inflated, new_histogram

WIDTH: Final = 1.01
_HEADERS: Final = 8  # HdrHistogram V2, compressed: cookie and length, then zlib
_PAYLOAD_HEADER: Final = 40  # cookie, length, offset, figures, lowest, highest, ratio


def bucket_counts(encoded: str) -> Counter[int]:
    """Count the values of each bucket. Raises RunDataError on text that is not an encoded histogram."""
    counts: Counter[int] = Counter()
    try:
        packed = base64.b64decode(encoded, validate=True)[_HEADERS:]
        payload = inflated(packed)[_PAYLOAD_HEADER:]
        for index, count in _counters(payload):
            counts[_bucket_of(index)] += count
    except (ValueError, zlib.error, IndexError) as error:
        raise RunDataError(f"not an HDR histogram: {encoded[:40]!r}: {error}") from error
    return counts


def bucket_ms(bucket: int) -> float:
    """Return the middle of a bucket, in milliseconds."""
    return float(WIDTH ** (bucket + 0.5)) / 1000


def _counters(payload: bytes) -> Iterator[tuple[int, int]]:
    """Yield index and count of each counter that is not 0; words are ZigZag LEB128, negative for 0s."""
    index = at = 0
    while at < len(payload):
        word = shift = 0
        while True:
            byte = payload[at]
            at += 1
            if shift == 56:  # the ninth byte carries eight bits
                word |= byte << shift
                break
            word |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        value = (word >> 1) ^ -(word & 1)
        if value < 0:
            index -= value
            continue
        if value:
            yield index, value
        index += 1


@cache
def _bucket_of(index: int) -> int:
    return math.floor(math.log(max(1, _layout().get_value_from_index(index))) / math.log(WIDTH))


@cache
def _layout():  # type: ignore[no-untyped-def]  # hdrh ships no types
    return new_histogram()
