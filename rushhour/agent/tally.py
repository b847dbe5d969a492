"""From what the service's threads left in the book to records: counting is done here, by the sampler.

A weak reference to a proxy is never followed here. For an instant that would make the sampler an owner of the
proxy, and if its last one, SQLAlchemy's finaliser (a ROLLBACK) would run in the sampler's thread.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .book import GC, Book, Hold, PoolState
from .catalog import Catalog
from .doing import Doing
from .readings import added, checked_out_and_waiting, label_of, outlived, rounded, thread_name

if TYPE_CHECKING:
    from .call_sites import Classifier, Stack
    from .journal import Record

SEEN_AFTER_S = 0.1  # a check-out that comes back sooner is counted, but not written one by one
PERIOD_S = 1.0  # histograms and totals per call site
MAX_POOLS = 64  # sampled at once; an engine per request would flood the file


class _Total:
    """Check-outs of one pool, stack and endpoint that came back."""

    __slots__ = ("count", "held", "longest")

    def __init__(self) -> None:
        self.count = 0
        self.held = self.longest = 0.0

    def add(self, other: _Total) -> None:
        self.count += other.count
        self.held += other.held
        self.longest = max(self.longest, other.longest)


class Tally:
    """Turns the book into records, tick by tick; one per file, so that each file explains its numbers."""

    def __init__(self, book: Book, classifier: Classifier) -> None:
        self._book = book
        self._catalog = Catalog()
        self._doing = Doing(classifier, self._catalog)
        self._written: dict[Hold, int] = {}  # check-outs in the file -> their number there
        self._ended: set[Hold] = set()  # of them, those whose request's end is in the file too
        self._last_number = 0
        self._totals: dict[tuple[PoolState, Stack, str | None], _Total] = {}
        self._said: dict[
            tuple[Any, ...], tuple[Any, ...]
        ] = {}  # what the file's newest record of a thing says
        self._dead: set[PoolState] = set()
        self._gone: list[int] = []
        self._period_began = 0.0

    def tick(self, now: float, final: bool = False) -> list[Record]:
        """All there is to write at `now` (monotonic seconds)."""
        records: list[Record] = []
        live = [hold for hold in self._book.live.copy() if hold.returned is None]
        self._take_ended(records)
        self._take_opened()
        self._take_timeouts(records)
        # Leaks stay, and may be thousands: what is known of them already is not asked again.
        leaked = [hold for hold in live if hold in self._ended]
        others = [hold for hold in live if hold not in self._ended] if leaked else live
        self._check_outs(others, now, records)
        self._doing.tick(others, self._written)
        self._sample(leaked, others, now, records)
        if final or now - self._period_began >= PERIOD_S:
            self._period_began = now
            self._sites(live, now, records)
            records += self._doing.take(rounded(now))
            for state in list(self._book.pools):
                self._times(state, now, records)
            self._rest(now, records)
        return self._catalog.take() + records

    def known(self, now: float) -> list[Record]:
        """Libraries, routes and faults, where nothing else is to be told yet."""
        records: list[Record] = []
        self._rest(now, records)
        return self._catalog.take() + records

    def _take_ended(self, records: list[Record]) -> None:
        """The one loop that runs for every check-out of the service."""
        take, written, totals = self._book.ended.popleft, self._written, self._totals
        last_pool = last_stack = last_label = None
        total = _Total()
        held_s = waited_s = 0.0  # since the pool changed
        for _ in range(len(self._book.ended)):
            hold = take()
            slot, stack, request = hold.slot, hold.stack, hold.request
            pool = slot.pool
            label = None if request is None else request.label
            if stack is not last_stack or label is not last_label or pool is not last_pool:  # mostly the same
                if pool is not last_pool and last_pool is not None:
                    last_pool.held_s += held_s
                    last_pool.waited_s += waited_s
                    held_s = waited_s = 0.0
                last_pool, last_stack, last_label = pool, stack, label
                key = (pool, stack, label)
                total = totals.get(key) or totals.setdefault(key, _Total())
            held = hold.returned - hold.taken  # type: ignore[operator]  # it is set before it gets here
            wait = hold.got - hold.began - hold.opening  # negative where the pool has no queue
            pool.holds[int(held * 1e6).bit_length()] += 1
            held_s += held
            if wait > 0:
                waited_s += wait
                pool.waits[int(wait * 1e6).bit_length()] += 1
            else:
                pool.waits[0] += 1
            total.count += 1
            total.held += held
            if held > total.longest:  # noqa: PLR1730  # a call of max() would cost more than the rest
                total.longest = held
            if slot.inherited:
                pool.inherited_uses += 1
            if hold.how is GC and hold not in written and outlived(hold, hold.returned):  # type: ignore[arg-type]  # as above
                self._write(hold, records)  # a leak, however soon it was found
                self._write_end(hold, records)
            if written and hold in written:
                self._ended.discard(hold)
                number = written.pop(hold)
                records += self._doing.forget(hold, number, rounded(hold.returned))
                records.append({"k": "back", "id": number, "t": rounded(hold.returned), "how": hold.how})
        if last_pool is not None:
            last_pool.held_s += held_s
            last_pool.waited_s += waited_s

    def _take_opened(self) -> None:
        opened = self._book.opened
        for _ in range(len(opened)):
            pool, took = opened.popleft()
            pool.connects += 1
            pool.opened_s += took
            pool.creates[int(took * 1e6).bit_length()] += 1

    def _take_timeouts(self, records: list[Record]) -> None:
        timeouts = self._book.timeouts
        for _ in range(len(timeouts)):
            one = timeouts.popleft()
            one.pool.timeouts += 1
            records.append(
                {
                    "k": "timeout",
                    "t": rounded(one.at),
                    "pool": self._catalog.pool(one.pool),
                    "site": self._catalog.site(one.stack),
                    "endpoint": label_of(one.request),
                    "waited": rounded(one.waited),
                    "holding": one.holding,
                }
            )

    def _check_outs(self, live: list[Hold], now: float, records: list[Record]) -> None:
        """A delta: a check-out is written when it was seen out for a while, and when its request ended."""
        for hold in live:
            ended = outlived(hold, now)
            if hold not in self._written and (ended or now - hold.taken >= SEEN_AFTER_S):
                self._write(hold, records)
            if ended and hold not in self._ended:
                self._write_end(hold, records)

    def _write(self, hold: Hold, records: list[Record]) -> None:
        self._last_number += 1
        self._written[hold] = self._last_number
        records.append(
            {
                "k": "out",
                "id": self._last_number,
                "pool": self._catalog.pool(hold.slot.pool),
                "stack": self._catalog.stack(hold.stack),
                "endpoint": label_of(hold.request),
                "thread": thread_name(hold.thread),
                "server_pid": hold.slot.server_pid,
                "taken": rounded(hold.taken),
            }
        )

    def _write_end(self, hold: Hold, records: list[Record]) -> None:
        assert hold.request is not None  # noqa: S101  # for the type checker: it has ended
        self._ended.add(hold)
        records.append({"k": "ended", "id": self._written[hold], "t": rounded(hold.request.ended)})

    def _sample(self, leaked: list[Hold], others: list[Hold], now: float, records: list[Record]) -> None:
        held: dict[PoolState, list[int]] = {}  # live, leaked
        for state, count in Counter([hold.slot.pool for hold in leaked]).items():
            held[state] = [count, count]
        for hold in others:
            counts = held.setdefault(hold.slot.pool, [0, 0])
            counts[0] += 1
            counts[1] += outlived(hold, now)
        rows: list[list[float]] = []
        for state in list(self._book.pools):
            pool = state.pool()
            if pool is None:
                if state in self._dead:  # its last returns were counted since
                    rows.append(self._forget(state, now, records))
                self._dead.add(state)
                continue
            if len(rows) == MAX_POOLS:
                self._book.fault(
                    "sampling", RuntimeError(f"more than {MAX_POOLS} pools; the rest is left out")
                )
                break
            out, overdue = held.get(state, (0, 0))
            checked_out, waiting = checked_out_and_waiting(pool, out)
            rows.append(self._row(state, checked_out, out, waiting, overdue))
        records.append({"k": "sample", "t": rounded(now), "pools": rows})
        records += ({"k": "gone", "pool": number} for number in self._gone)
        self._gone.clear()

    def _forget(self, state: PoolState, now: float, records: list[Record]) -> list[float]:
        """The service dropped this pool, and with it all its check-outs: say all that is left to say."""
        self._times(state, now, records)
        self._sites([], now, records, only=state)
        row = self._row(state, 0, 0, 0, 0)
        self._book.pools.remove(state)
        self._catalog.forget_pool(state)
        for key in [key for key in self._totals if key[0] is state]:
            del self._totals[key]
        for said in [said for said in self._said if said[1:2] in {(state,), (state.id,)}]:
            del self._said[said]
        self._dead.remove(state)
        self._gone.append(state.id)
        return row

    def _row(self, state: PoolState, checked_out: int, live: int, waiting: int, leaked: int) -> list[float]:
        back = sum(state.holds)
        now = (checked_out, live, waiting, leaked)
        ever = (state.timeouts, state.connects, back + live, back)
        return [self._catalog.pool(state), *state.shape, *now, *ever]

    def _sites(
        self, live: list[Hold], now: float, records: list[Record], only: PoolState | None = None
    ) -> None:
        """Totals per line of code: several stacks may end in one."""
        sums: dict[tuple[int, int, str | None], _Total] = {}
        out: Counter[tuple[int, int, str | None]] = Counter()
        for (pool, stack, endpoint), total in self._totals.items():
            if only is None or pool is only:
                key = (self._catalog.pool(pool), self._catalog.site(stack), endpoint)
                sums.setdefault(key, _Total()).add(total)
        still = Counter([(hold.slot.pool, hold.stack, label_of(hold.request)) for hold in live])
        for (pool, stack, endpoint), count in still.items():
            key = (self._catalog.pool(pool), self._catalog.site(stack), endpoint)
            sums.setdefault(key, _Total())
            out[key] += count
        for key, total in sums.items():
            checkouts = total.count + out[key]
            if self._news(("site", *key), (checkouts, total.count)):
                pool_id, site, endpoint = key
                records.append(
                    {
                        "k": "site",
                        "t": rounded(now),
                        "pool": pool_id,
                        "site": site,
                        "endpoint": endpoint,
                        "checkouts": checkouts,
                        "held": rounded(total.held),
                        "longest": rounded(total.longest),
                    }
                )

    def _times(self, state: PoolState, now: float, records: list[Record]) -> None:
        key = ("times", state)
        before = self._said.get(key)
        present = (tuple(state.waits), tuple(state.holds), tuple(state.creates))
        if self._news(key, present):
            wait, hold, create = (
                added(new, old) for new, old in zip(present, before or ((), (), ()), strict=True)
            )
            if wait or hold or create:
                pool = self._catalog.pool(state)
                records.append(
                    {
                        "k": "times",
                        "t": rounded(now),
                        "pool": pool,
                        "wait": wait,
                        "hold": hold,
                        "create": create,
                    }
                )

    def _rest(self, now: float, records: list[Record]) -> None:
        book, at = self._book, rounded(now)
        for name, version in list(book.modules.items()):
            if self._news(("module", name), (version,)):
                records.append({"k": "module", "t": at, "name": name, "version": version})
        if book.routes and self._news(("routes",), book.routes):
            records.append({"k": "routes", "t": at, "routes": book.routes})
        for state in list(book.pools):
            if state.inherited:
                pool = self._catalog.pool(state)
                self._inherited(state, pool, at, records)
        for (where, error), times in list(book.faults.items()):
            if self._news(("fault", where, error), (times,)):
                text = error if times == 1 else f"{error} ({times} times)"
                records.append({"k": "fault", "t": at, "where": where, "error": text})

    def _inherited(self, state: PoolState, pool: int, at: float | None, records: list[Record]) -> None:
        uses = state.inherited_uses + sum(
            hold.slot.inherited and hold.slot.pool is state for hold in self._written
        )
        if self._news(("inherited", state), (state.inherited, min(uses, 1), uses // 100)):  # not each use
            records.append({"k": "inherited", "t": at, "pool": pool, "pids": state.inherited, "uses": uses})

    def _news(self, key: tuple[Any, ...], value: tuple[Any, ...]) -> bool:
        if self._said.get(key) == value:
            return False
        self._said[key] = value
        return True
