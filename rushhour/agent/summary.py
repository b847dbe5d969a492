"""Records totals per call site, histograms, libraries, routes and faults, since the file began."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .readings import added, label_of, rounded

if TYPE_CHECKING:
    from collections.abc import Collection

    from . import records as r
    from .book import Book, Hold, PoolState
    from .call_sites import Stack
    from .catalog import Catalog
    from .journal import Record


class Total:
    """The total of check-outs of a pool, stack and endpoint that came back."""

    __slots__ = ("count", "held", "longest", "recent")

    def __init__(self) -> None:
        self.count = 0
        self.held = self.longest = 0.0
        self.recent: dict[int, int] = {}  # since the last record: place of a histogram's bucket -> holds

    def take_recent(self, into: dict[int, int]) -> None:
        """Add the histogram since the last record to `into`, and begin a new one."""
        recent, self.recent = self.recent, {}
        for place, count in recent.items():
            into[place] = into.get(place, 0) + count

    def add(self, count: int, held: float, longest: float) -> None:
        """So many more, held for so many seconds in all and at most."""
        self.count += count
        self.held += held
        self.longest = max(self.longest, longest)


class Summary:
    """Writes what has changed: a record is valid until the next record of the same kind and key."""

    def __init__(self, book: Book, catalog: Catalog, written: Collection[Hold]) -> None:
        self.totals: dict[tuple[PoolState, Stack, str | None], Total] = {}
        self._book = book
        self._catalog = catalog
        self._written = written  # check-outs in the file that are still out
        self._said: dict[
            tuple[Any, ...], tuple[Any, ...]
        ] = {}  # what the file's newest record of a thing says

    def sites(
        self, live: list[Hold], now: float, records: list[Record], only: PoolState | None = None
    ) -> None:
        """Totals per line of code: several stacks may end in one."""
        sums: dict[tuple[int, int, str | None], Total] = {}
        out: Counter[tuple[int, int, str | None]] = Counter()
        for (pool, stack, endpoint), total in self.totals.items():
            if only is None or pool is only:
                key = (self._catalog.pool(pool), self._catalog.site(stack), endpoint)
                into = sums.setdefault(key, Total())
                into.add(total.count, total.held, total.longest)
                if total.recent:
                    total.take_recent(into.recent)
        still = Counter([(hold.slot.pool, hold.stack, label_of(hold.request)) for hold in live])
        for (pool, stack, endpoint), count in still.items():
            key = (self._catalog.pool(pool), self._catalog.site(stack), endpoint)
            sums.setdefault(key, Total())
            out[key] += count
        for key, total in sums.items():
            checkouts = total.count + out[key]
            if self._news(("site", *key), (checkouts, total.count)):
                pool_id, site, endpoint = key
                site_record: r.Site = {
                    "k": "site",
                    "t": rounded(now),
                    "pool": pool_id,
                    "site": site,
                    "endpoint": endpoint,
                    "checkouts": checkouts,
                    "held": rounded(total.held),
                    "longest": rounded(total.longest),
                    "hold": {1 << place: count for place, count in sorted(total.recent.items())},
                }
                records.append(site_record)

    def times(self, state: PoolState, now: float, records: list[Record]) -> None:
        """Histograms of one pool, by what came since the last ones."""
        key = ("times", state)
        before = self._said.get(key)
        present = (tuple(state.waits), tuple(state.holds), tuple(state.creates))
        if self._news(key, present):
            wait, hold, create = (
                added(new, old) for new, old in zip(present, before or ((), (), ()), strict=True)
            )
            if wait or hold or create:
                pool = self._catalog.pool(state)
                times_record: r.Times = {
                    "k": "times",
                    "t": rounded(now),
                    "pool": pool,
                    "wait": wait,
                    "hold": hold,
                    "create": create,
                }
                records.append(times_record)

    def rest(self, now: float, records: list[Record]) -> None:
        """Libraries, routes, connections that came over a fork, and faults of the agent's own."""
        book, at = self._book, rounded(now)
        for name, version in list(book.modules.items()):
            if self._news(("module", name), (version,)):
                module: r.Module = {"k": "module", "t": at, "name": name, "version": version}
                records.append(module)
        if book.routes and self._news(("routes",), book.routes):
            routes: r.Routes = {"k": "routes", "t": at, "routes": book.routes}
            records.append(routes)
        for created in list(book.creations.values()):
            alive = len(created.pools)
            if self._news(("engines", created), (created.made, alive)):
                line = self._catalog.site(created.stack)
                engines: r.Engines = {
                    "k": "engines",
                    "t": at,
                    "at": line,
                    "made": created.made,
                    "alive": alive,
                }
                records.append(engines)
        for state in list(book.pools):
            if state.inherited:
                pool = self._catalog.pool(state)
                self._inherited(state, pool, at, records)
        for (where, error), times in list(book.faults.items()):
            if self._news(("fault", where, error), (times,)):
                text = error if times == 1 else f"{error} ({times} times)"
                fault: r.Fault = {"k": "fault", "t": at, "where": where, "error": text}
                records.append(fault)

    def _inherited(self, state: PoolState, pool: int, at: float, records: list[Record]) -> None:
        uses = state.inherited_uses + state.kept_uses
        uses += sum(hold.slot.inherited and hold.slot.pool is state for hold in self._written)
        if self._news(("inherited", state), (state.inherited, min(uses, 1), uses // 100)):  # not each use
            inherited: r.Inherited = {
                "k": "inherited",
                "t": at,
                "pool": pool,
                "pids": state.inherited,
                "uses": uses,
            }
            records.append(inherited)

    def _news(self, key: tuple[Any, ...], value: tuple[Any, ...]) -> bool:
        if self._said.get(key) == value:
            return False
        self._said[key] = value
        return True

    def forget(self, state: PoolState) -> None:
        """The service dropped this pool, and all of it was written."""
        for key in [key for key in self.totals if key[0] is state]:
            del self.totals[key]
        for said in [said for said in self._said if said[1:2] in {(state,), (state.id,)}]:
            del self._said[said]
