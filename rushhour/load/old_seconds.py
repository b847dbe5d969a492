"""Forgets Locust's counts of seconds long past, which it would keep for as long as it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # to import Locust is to let gevent patch the process
    from locust.stats import RequestStats

KEPT_S: Final = 60  # Locust's current rates are those of the last dozen seconds


def forget_old_seconds(stats: RequestStats) -> None:
    """Drop from each entry the counts of seconds that lie further back than KEPT_S from its newest."""
    for entry in (*stats.entries.values(), stats.total):
        for counts in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
            oldest = max(counts, default=0) - KEPT_S
            for second in [second for second in counts if second < oldest]:
                del counts[second]
