"""From what the service's threads left in the book to records: counting is done here, by the sampler.

A weak reference to a proxy is never followed here. For an instant that would make the sampler an owner of the
proxy, and if its last one, SQLAlchemy's finaliser (a ROLLBACK) would run in the sampler's thread.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .book import Book, Hold, PoolState
from .catalog import Catalog

if TYPE_CHECKING:
    from .call_sites import Stack
    from .journal import Record

SEEN_AFTER_S = 0.1  # a check-out that comes back sooner is counted, but not written one by one
GRACE_S = 0.1  # clean-up that runs right after the end of a request is no leak
PERIOD_S = 1.0  # histograms and totals per call site
MAX_POOLS = 64  # sampled at once; an engine per request would flood the file


class _Total:
    """Check-outs of one pool, stack and endpoint that came back."""

    __slots__ = ("count", "held", "longest")

    def __init__(self) -> None:
        self.count = 0
        self.held = self.longest = 0.0


class Tally:
    """Turns the book into records, tick by tick; one per file, so that each file explains its numbers."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._catalog = Catalog()
        self._written: dict[Hold, int] = {}  # check-outs in the file -> their number there
        self._ended: set[Hold] = set()  # of them, those whose request's end is in the file too
        self._last_number = 0
        self._totals: dict[tuple[PoolState, Stack, str | None], _Total] = {}
        self._said: dict[
            tuple[Any, ...], tuple[Any, ...]
        ] = {}  # what the file's newest record of a thing says
        self._period_began = 0.0

    def tick(self, now: float, final: bool = False) -> list[Record]:
        """All there is to write at `now` (monotonic seconds)."""
        records: list[Record] = []
        live = [hold for hold in self._book.live.copy() if hold.returned is None]
        self._take_ended(records)
        self._take_opened()
        self._take_timeouts(records)
        self._check_outs(live, now, records)
        self._sample(live, now, records)
        if final or now - self._period_began >= PERIOD_S:
            self._period_began = now
            self._sites(live, now, records)
            for state in list(self._book.pools):
                self._times(state, now, records)
        self._rest(now, records)
        return self._catalog.take() + records

    def _take_ended(self, records: list[Record]) -> None:
        """The one loop that runs for every check-out of the service."""
        take, written, totals = self._book.ended.popleft, self._written, self._totals
        for _ in range(len(self._book.ended)):
            hold = take()
            pool, request = hold.slot.pool, hold.request
            key = (pool, hold.stack, None if request is None else request.label)
            total = totals.get(key)
            if total is None:
                total = totals[key] = _Total()
            held = hold.returned - hold.taken  # type: ignore[operator]  # it is set before it gets here
            wait = hold.got - hold.began - hold.opening  # negative where the pool has no queue
            pool.holds[int(held * 1e6).bit_length()] += 1
            pool.waits[int(wait * 1e6).bit_length() if wait > 0 else 0] += 1
            total.count += 1
            total.held += held
            if held > total.longest:  # noqa: PLR1730  # a call of max() would cost more than the rest
                total.longest = held
            if written and hold in written:
                self._ended.discard(hold)
                records.append(
                    {"k": "back", "id": written.pop(hold), "t": _round(hold.returned), "how": hold.how}
                )

    def _take_opened(self) -> None:
        opened = self._book.opened
        for _ in range(len(opened)):
            pool, took = opened.popleft()
            pool.connects += 1
            pool.creates[int(took * 1e6).bit_length()] += 1

    def _take_timeouts(self, records: list[Record]) -> None:
        timeouts = self._book.timeouts
        for _ in range(len(timeouts)):
            one = timeouts.popleft()
            one.pool.timeouts += 1
            records.append(
                {
                    "k": "timeout",
                    "t": _round(one.at),
                    "pool": self._catalog.pool(one.pool),
                    "site": self._catalog.site(one.stack),
                    "endpoint": one.request.label if one.request else None,
                    "waited": _round(one.waited),
                }
            )

    def _check_outs(self, live: list[Hold], now: float, records: list[Record]) -> None:
        """A delta: a check-out is written when it was seen out for a while, and when its request ended."""
        for hold in live:
            outlived = _outlived(hold, now)
            if hold not in self._written and (outlived or now - hold.taken >= SEEN_AFTER_S):
                self._last_number += 1
                self._written[hold] = self._last_number
                records.append(
                    {
                        "k": "out",
                        "id": self._last_number,
                        "pool": self._catalog.pool(hold.slot.pool),
                        "stack": self._catalog.stack(hold.stack),
                        "endpoint": hold.request.label if hold.request else None,
                        "thread": _thread_name(hold.thread),
                        "server_pid": hold.slot.server_pid,
                        "taken": _round(hold.taken),
                    }
                )
            if outlived and hold.request is not None and hold not in self._ended:
                self._ended.add(hold)
                records.append({"k": "ended", "id": self._written[hold], "t": _round(hold.request.ended)})

    def _sample(self, live: list[Hold], now: float, records: list[Record]) -> None:
        held: dict[PoolState, list[int]] = {}  # live, leaked
        for hold in live:
            counts = held.setdefault(hold.slot.pool, [0, 0])
            counts[0] += 1
            counts[1] += _outlived(hold, now)
        rows: list[list[float]] = []
        for state in list(self._book.pools):
            pool = state.pool()
            if pool is None:
                self._forget(state, now, records)
                continue
            if len(rows) == MAX_POOLS:
                self._book.fault(
                    "sampling", RuntimeError(f"more than {MAX_POOLS} pools; the rest is left out")
                )
                break
            out, leaked = held.get(state, (0, 0))
            size, overflow, timeout, checked_out, waiting = _figures(pool, out)
            back = sum(state.holds)
            numbers = [size, overflow, timeout, checked_out, out, waiting, leaked]
            rows.append(
                [self._catalog.pool(state), *numbers, state.timeouts, state.connects, back + out, back]
            )
        records.append({"k": "sample", "t": _round(now), "pools": rows})

    def _forget(self, state: PoolState, now: float, records: list[Record]) -> None:
        """The service dropped this pool, and with it all its check-outs."""
        self._times(state, now, records)
        self._book.pools.remove(state)
        self._catalog.forget_pool(state)
        records.append({"k": "gone", "pool": state.id})

    def _sites(self, live: list[Hold], now: float, records: list[Record]) -> None:
        """Totals per line of code: several stacks may end in one."""
        sums: dict[tuple[int, int, str | None], list[float]] = {}  # check-outs, came back, held, longest
        for (pool, stack, endpoint), total in self._totals.items():
            row = sums.setdefault(
                (self._catalog.pool(pool), self._catalog.site(stack), endpoint), [0, 0, 0.0, 0.0]
            )
            row[0] += total.count
            row[1] += total.count
            row[2] += total.held
            row[3] = max(row[3], total.longest)
        for hold in live:
            endpoint = hold.request.label if hold.request else None
            key = (self._catalog.pool(hold.slot.pool), self._catalog.site(hold.stack), endpoint)
            sums.setdefault(key, [0, 0, 0.0, 0.0])[0] += 1
        for (pool_id, site, endpoint), (checkouts, back, held, longest) in sums.items():
            if self._news(("site", pool_id, site, endpoint), (checkouts, back)):
                records.append(
                    {
                        "k": "site",
                        "t": _round(now),
                        "pool": pool_id,
                        "site": site,
                        "endpoint": endpoint,
                        "checkouts": checkouts,
                        "held": _round(held),
                        "longest": _round(longest),
                    }
                )

    def _times(self, state: PoolState, now: float, records: list[Record]) -> None:
        key = ("times", state)
        before = self._said.get(key)
        present = (tuple(state.waits), tuple(state.holds), tuple(state.creates))
        if self._news(key, present):
            wait, hold, create = (
                _buckets(new, old) for new, old in zip(present, before or ((), (), ()), strict=True)
            )
            if wait or hold or create:
                pool = self._catalog.pool(state)
                records.append(
                    {
                        "k": "times",
                        "t": _round(now),
                        "pool": pool,
                        "wait": wait,
                        "hold": hold,
                        "create": create,
                    }
                )

    def _rest(self, now: float, records: list[Record]) -> None:
        book, at = self._book, _round(now)
        for name, version in list(book.modules.items()):
            if self._news(("module", name), (version,)):
                records.append({"k": "module", "t": at, "name": name, "version": version})
        if book.routes and self._news(("routes",), book.routes):
            records.append({"k": "routes", "t": at, "routes": book.routes})
        for (where, error), times in list(book.faults.items()):
            if self._news(("fault", where, error), (times,)):
                text = error if times == 1 else f"{error} ({times} times)"
                records.append({"k": "fault", "t": at, "where": where, "error": text})

    def _news(self, key: tuple[Any, ...], value: tuple[Any, ...]) -> bool:
        if self._said.get(key) == value:
            return False
        self._said[key] = value
        return True


def _figures(pool: Any, live: int) -> tuple[int, int, float, int, int]:
    """Size, overflow, time-out, checked out, waiting; read without the pool's lock, which may be gevent's."""
    if not hasattr(pool, "_max_overflow"):  # NullPool and those with one connection have no queue
        return 0, -1, 0.0, live, 0
    queue = pool._pool
    if hasattr(queue, "not_empty"):
        idle, waiting = len(queue.queue), len(queue.not_empty._waiters)
    else:  # asyncio: its queue is made in its event loop, so it is not touched before
        inner = vars(queue).get("_queue")
        idle, waiting = (0, 0) if inner is None else (inner.qsize(), len(inner._getters))
    size = queue.maxsize
    return size, pool._max_overflow, float(pool._timeout), size - idle + pool._overflow, waiting


def _outlived(hold: Hold, now: float) -> bool:
    """Whether the request that took it has ended, and clean-up had its moment; not if taken afterwards."""
    ended = hold.request.ended if hold.request is not None else None
    return ended is not None and hold.taken <= ended <= now - GRACE_S


def _thread_name(number: int) -> str:
    threading = sys.modules.get("threading")
    thread = getattr(threading, "_active", {}).get(number)  # not `enumerate()`, which takes a lock
    return str(thread.name) if thread is not None else f"thread {number}"


def _buckets(new: tuple[int, ...], old: tuple[int, ...]) -> dict[int, int]:
    """Upper bound in microseconds -> how many were added."""
    counts = (count - (old[number] if old else 0) for number, count in enumerate(new))
    return {1 << number: count for number, count in enumerate(counts) if count}


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
