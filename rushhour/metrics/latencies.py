"""Decodes and merges latency histograms, and reads percentiles from them (pure)."""

from collections.abc import Iterable
from typing import Final

from hdrh.histogram import HdrHistogram

from rushhour.errors import RunDataError

LOWEST_US: Final = 1
HIGHEST_US: Final = 300_000_000  # five minutes
SIGNIFICANT_DIGITS: Final = 3


def new_histogram() -> HdrHistogram:
    """Return an empty histogram of microseconds, in the format of `facts.RequestCount.latency`."""
    return HdrHistogram(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS)


def merge(encoded: Iterable[str]) -> HdrHistogram:
    """Merge encoded histograms into one. Raises RunDataError on text that is not an encoded histogram."""
    merged = new_histogram()
    for text in encoded:
        try:  # hdrh raises five unrelated kinds of error here
            merged.decode_and_add(text)
        except Exception as error:
            raise RunDataError(
                f"not an HDR histogram: {text[:40]!r}: {type(error).__name__}: {error}"
            ) from error
    return merged


def percentile_ms(histogram: HdrHistogram, percentile: float) -> float | None:
    """Return the percentile (0 to 100) in milliseconds, or None when the histogram is empty."""
    if not histogram.get_total_count():
        return None
    return float(histogram.get_value_at_percentile(percentile)) / 1000


def count_above(histogram: HdrHistogram, bound_ms: float) -> int:
    """Return how many values are above a bound, to three significant digits."""
    first = histogram.get_counts_array_index(min(int(bound_ms * 1000), HIGHEST_US)) + 1
    return sum(histogram.counts[first : histogram.counts_len])
