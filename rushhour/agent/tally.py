"""Turns the data that the service's threads left in the book into records, in the sampler's thread.

A weak reference to a proxy is never followed here. For an instant that would make the sampler an owner of the
proxy, and if its last one, SQLAlchemy's finaliser (a ROLLBACK) would run in the sampler's thread.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from .book import GC, Book, Hold, PoolState
from .catalog import Catalog
from .doing import Doing
from .owners import TASK
from .readings import checked_out_and_waiting, label_of, outlived, rounded, thread_name, unit_ended
from .summary import Summary, Total
from .units import Units, of_its_thread

if TYPE_CHECKING:
    from . import records as r
    from .call_sites import Classifier
    from .journal import Record
    from .owners import Owner

SEEN_AFTER_S = 0.1  # a check-out that comes back sooner is counted, but not written one by one
PERIOD_S = 1.0  # histograms and totals per call site
MAX_POOLS = 64  # sampled at once; an engine per request would flood the file


class Tally:
    """Turns the book into records, tick by tick; each file has its own, to define its numbers."""

    def __init__(self, book: Book, classifier: Classifier) -> None:
        self._book = book
        self._catalog = Catalog()
        self._doing = Doing(classifier, self._catalog, book.serving)
        self._units = Units(classifier)
        self._written: dict[Hold, int] = {}  # check-outs in the file -> their number there
        self._ended: set[Hold] = set()  # of them, those whose unit's end is in the file too
        self._last_number = self._last_owner = 0
        self._owners: WeakKeyDictionary[Owner, int] = WeakKeyDictionary()
        self._summary = Summary(book, self._catalog, self._written)
        self._dead: set[PoolState] = set()
        self._gone: list[int] = []
        self._period_began = 0.0

    def tick(self, now: float, final: bool = False, *, cut_short: bool = False) -> list[Record]:
        """Return the records to write at `now` (monotonic seconds).

        The final ones say all that is out. `cut_short`: nothing has had its moment to clean up before them.
        """
        settled = final and not cut_short
        records: list[Record] = []
        self._take_ended(records)
        self._take_lasted()
        # Not before: what comes back between the two would be counted as both.
        live = [hold for hold in self._book.live.copy() if hold.returned is None]
        self._take_opened()
        self._take_timeouts(records)
        for hold in self._units.resumed(list(self._ended)) if self._ended else ():
            self._write_resumed(hold, records)
        # Leaks stay, and may be thousands: what is known of them already is not asked again.
        leaked = [hold for hold in live if hold in self._ended]
        others = [hold for hold in live if hold not in self._ended] if leaked else live
        self._units.look(others, now, settled)
        self._check_outs(others, now, records, final=final, settled=settled)
        self._doing.tick(others, self._written)
        self._sample(leaked, others, now, records)
        if final or now - self._period_began >= PERIOD_S:
            self._period_began = now
            self._summary.sites(live, now, records)
            records += self._doing.take(rounded(now))
            for state in list(self._book.pools):
                self._summary.times(state, now, records)
            self._summary.rest(now, records)
        return self._catalog.take() + records

    def known(self, now: float) -> list[Record]:
        """Return the records of libraries, routes and faults, if there are no others yet."""
        records: list[Record] = []
        self._summary.rest(now, records)
        return self._catalog.take() + records

    def close(self) -> None:
        """Close the files that it reads."""
        self._doing.close()

    def _take_lasted(self) -> None:
        """The one loop that runs for nearly every check-out of the service."""
        totals = self._summary.totals
        for key, times in self._book.lasted.copy().items():
            count = len(times) // 2
            if not count:
                continue
            pool, take = key[0], times.popleft
            total = totals.get(key) or totals.setdefault(key, Total())
            holds, waits, recent = pool.holds, pool.waits, total.recent
            held_s = waited_s = longest_s = 0.0
            for _ in range(count):
                held, waited = take(), take()
                place = int(held * 1e6).bit_length()
                holds[place] += 1
                recent[place] = recent.get(place, 0) + 1
                held_s += held
                if held > longest_s:  # noqa: PLR1730  # a call of max() would cost more than the rest
                    longest_s = held
                if waited > 0:
                    waited_s += waited
                    waits[int(waited * 1e6).bit_length()] += 1
                else:
                    waits[0] += 1
            total.add(count, held_s, longest_s)
            pool.held_s += held_s
            pool.waited_s += waited_s

    def _take_ended(self, records: list[Record]) -> None:
        """Those of which there is more to say, or which have an endpoint only now."""
        take, written, times_of = self._book.ended.popleft, self._written, self._book.times_of
        for _ in range(len(self._book.ended)):
            hold = take()
            assert hold.returned is not None  # noqa: S101  # for the type checker: it is set before it gets here
            place = (hold.slot.pool, hold.stack, label_of(hold.request))
            times_of(place).extend((hold.returned - hold.taken, hold.waited))
            if hold.slot.inherited:
                hold.slot.pool.inherited_uses += 1
            if hold.how is GC and hold not in written and outlived(hold, hold.returned):
                self._write(hold, records)  # a leak, however soon it was found
                self._write_end(hold, records)
            if hold in written:
                if hold in self._ended and hold.how is not GC and not outlived(hold, hold.returned):
                    self._write_resumed(hold, records)  # used and given back between two ticks
                self._ended.discard(hold)
                number = written.pop(hold)
                at = rounded(hold.returned)
                records += self._doing.forget(hold, number, at)
                back: r.Back = {"k": "back", "id": number, "t": at, "how": hold.how}
                records.append(back)

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
            raised = timeouts.popleft()
            raised.pool.timeouts += 1
            timeout: r.Timeout = {
                "k": "timeout",
                "t": rounded(raised.at),
                "pool": self._catalog.pool(raised.pool),
                "site": self._catalog.site(raised.stack),
                "endpoint": label_of(raised.request),
                "waited": rounded(raised.waited),
                "holding": raised.holding,
                "kept": raised.kept,
                "beside": raised.beside,
                "requested": raised.request is not None,
                "request": None if raised.request is None else id(raised.request),
            }
            records.append(timeout)

    def _check_outs(
        self, live: list[Hold], now: float, records: list[Record], *, final: bool, settled: bool
    ) -> None:
        """A delta: a check-out is written when it was seen out for a while, and when its request ended.

        At the end of the process all that is out is written; `settled`: clean-up has had its moment.
        """
        for hold in live:
            ended = unit_ended(hold) is not None if settled else outlived(hold, now)
            if hold not in self._written and (ended or final or now - hold.taken >= SEEN_AFTER_S):
                hold.followed = True
                if hold.returned is not None:
                    continue  # meanwhile; whoever gave it back may have seen that it is not followed
                self._write(hold, records)
            if ended and hold not in self._ended:
                self._write_end(hold, records)

    def _write(self, hold: Hold, records: list[Record]) -> None:
        self._last_number += 1
        self._written[hold] = self._last_number
        out: r.Out = {
            "k": "out",
            "id": self._last_number,
            "pool": self._catalog.pool(hold.slot.pool),
            "stack": self._catalog.stack(hold.stack),
            "endpoint": label_of(hold.request),
            "thread": thread_name(hold),
            "owner": self._owner(hold),
            "server_pid": hold.slot.server_pid,
            "taken": rounded(hold.taken),
        }
        if hold.owner.kind == TASK:
            out["task"] = True
        if hold.scoped:
            out["scoped"] = True
        if of_its_thread(hold):
            out["own"] = True
        records.append(out)

    def _owner(self, hold: Hold) -> int:
        """The number of its owner in this file."""
        number = self._owners.get(hold.owner)
        if number is None:
            self._last_owner += 1
            number = self._owners[hold.owner] = self._last_owner
        return number

    def _write_end(self, hold: Hold, records: list[Record]) -> None:
        self._ended.add(hold)
        ended_s = unit_ended(hold)
        assert ended_s is not None  # noqa: S101  # for the type checker: it has ended
        ended: r.Ended = {"k": "ended", "id": self._written[hold], "t": rounded(ended_s)}
        if hold.lost is not None:
            ended["lost"] = hold.lost
        records.append(ended)

    def _write_resumed(self, hold: Hold, records: list[Record]) -> None:
        """It was handed on to work that goes on after its request."""
        self._ended.discard(hold)
        resumed: r.Resumed = {"k": "resumed", "id": self._written[hold], "t": rounded(hold.used)}
        records.append(resumed)

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
        sample: r.Sample = {"k": "sample", "t": rounded(now), "pools": rows}
        gone: list[r.Gone] = [{"k": "gone", "pool": number} for number in self._gone]
        records += [sample, *gone]
        self._gone.clear()

    def _forget(self, state: PoolState, now: float, records: list[Record]) -> list[float]:
        """The service dropped this pool, and with it all its check-outs: say all that is left to say."""
        self._summary.times(state, now, records)
        self._summary.sites([], now, records, only=state)
        row = self._row(state, 0, 0, 0, 0)
        self._book.pools.remove(state)
        self._book.forget_times(state)
        self._catalog.forget_pool(state)
        self._summary.forget(state)
        self._dead.remove(state)
        self._gone.append(state.id)
        return row

    def _row(self, state: PoolState, checked_out: int, live: int, waiting: int, leaked: int) -> list[float]:
        back = sum(state.holds)
        now = (checked_out, live, waiting, leaked)
        ever = (state.timeouts, state.connects, back + live, back)
        return [self._catalog.pool(state), *state.shape, *now, *ever]
