"""Adds up the rows of many workers, so that a file has a row a second for all of them (pure)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rushhour.errors import RunDataError
from rushhour.metrics.latencies import Merger
from rushhour.rundir.facts import SAME_LATENCY, Outcome, RequestCount

MERGED_FROM: Final = 20  # workers; the rows of fewer are written as they come
ALL: Final = "all"  # the worker of a merged row

Key = tuple[int, str, str, int]  # second, endpoint, outcome, status
Packed = tuple[int, str, str, str]  # count, latency, latency from when due, worker


class MergedRows:
    """Holds rows of workers until they are taken, merged by second, endpoint, outcome and status.

    Two hundred workers send forty thousand rows a second: a row stays as its message has it until then.
    """

    def __init__(self) -> None:
        self._held: dict[Key, list[Packed]] = {}
        self._merger = Merger()

    def add(self, packed: Iterable[Sequence[Any]]) -> int:
        """Hold the rows of a message (`messages.pack`), and return how many requests they count.

        Raises ValueError or TypeError if they are none.
        """
        held, requests = self._held, 0
        for t_s, endpoint, outcome, count, latency, worker, status, latency_due in packed:
            requests += count
            key = (t_s, endpoint, outcome, status)
            if key in held:
                held[key].append((count, latency, latency_due, worker))
            else:
                Outcome(outcome)  # an unknown outcome is refused with its message
                held[key] = [(count, latency, latency_due, worker)]
        return requests

    def take(self) -> Iterator[RequestCount]:
        """Yield and forget the rows. Rows with a latency that is no histogram are left as they came."""
        held, self._held = self._held, {}
        for (t_s, endpoint, outcome, status), rows in held.items():
            for count, latency, due, worker in self._merged(rows):
                yield RequestCount(t_s, endpoint, Outcome(outcome), count, latency, worker, status, due)

    def _merged(self, rows: list[Packed]) -> list[Packed]:
        if len(rows) == 1:
            return rows
        dues = {due for _, _, due, _ in rows}
        try:
            if dues == {SAME_LATENCY}:
                all_due = SAME_LATENCY
            elif "" in dues:
                all_due = ""  # of some it is not recorded
            else:
                all_due = self._encoded(
                    latency if due == SAME_LATENCY else due for _, latency, due, _ in rows
                )
            latency = self._encoded(latency for _, latency, _, _ in rows)
        except RunDataError:
            return rows
        return [(sum(row[0] for row in rows), latency, all_due, ALL)]

    def _encoded(self, latencies: Iterable[str]) -> str:
        self._merger.reset()
        self._merger.add(latencies)
        return str(self._merger.result().encode().decode("ascii"))
