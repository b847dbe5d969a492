"""Turns the agent's records of a process into facts."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import replace
from typing import Any, Final

from rushhour.agent import records as r
from rushhour.observe.pool_surroundings import Growing, Surroundings
from rushhour.rundir import facts as f

NOTABLE_AFTER_S: Final = 1.0  # a check-out that is out this long gets a line of its own
RECENT_S: Final = 2.0  # shorter check-outs are remembered this long, in case a lock wait names their backend


class PoolProcess:
    """Keeps the definitions of a file and the open check-outs; `heard_s` is the newest sample's time."""

    def __init__(self, pid: int, around: Surroundings) -> None:
        self.heard_s = float("inf")
        self._pid = pid
        self._around = around
        self._process: f.AgentProcess | None = None
        self._first_id = 0  # ids of check-outs restart when the process calls exec
        self._last_id = 0
        self._lost = False
        self._unreadable = False  # the file has an unknown version
        self._counters: dict[tuple[Any, ...], Growing] = {}
        self._forget()

    def _forget(self) -> None:
        self._names: dict[int, str] = {}
        self._kinds: dict[int, str] = {}
        self._sites: dict[int, f.CallSite] = {}
        self._stacks: dict[int, tuple[f.CallSite, ...]] = {}
        self._out: dict[int, f.CheckOut] = {}
        self._notable: set[int] = set()
        self._recent: deque[f.CheckOut] = deque()

    def apply(self, record: Mapping[str, Any]) -> Iterator[f.PoolFact]:
        """Yield the facts of a record. Raises KeyError, TypeError or ValueError if it is malformed."""
        if self._unreadable and record["k"] != "start":
            return
        handler = _HANDLERS[record["k"]]
        if self._lost:  # the process was only slow: its check-outs are still out
            self._lost = False
            yield from (
                replace(checkout, t_s=self._around.t_s(self.heard_s)) for checkout in self._notable_out()
            )
        yield from handler(self, record)

    def fell_silent(self) -> Iterator[f.PoolFact]:
        """Treat the process as dead, because it wrote no record for long, and end its check-outs."""
        if not self._lost:
            self._lost = True
            yield from self._end_all(self.heard_s)

    def had_none_out(self) -> Iterator[f.PoolFact]:
        """Say of a process with pools that nothing was out when it was looked at last; it may be dead."""
        if self._names and self._process is not None and self._process.exited_s is None:
            self._process = replace(self._process, none_out=True)
            yield self._process

    def still_out(self) -> list[f.PoolFact]:
        """Return every open check-out, unless the process has ended."""
        if self._lost:
            return []
        return [replace(checkout, t_s=self._around.t_s(self.heard_s)) for checkout in self._out.values()]

    def in_locks(self, server: str, t_s: float, server_pids: Set[int]) -> Iterator[f.CheckOut]:
        """Yield check-outs whose backends waited for a lock at `t_s`, or blocked another backend."""
        for number, checkout in self._out.items():
            if number not in self._notable and _on_backend(checkout, server, t_s, server_pids):
                self._notable.add(number)
                yield replace(checkout, t_s=self._around.t_s(self.heard_s))
        found = [checkout for checkout in self._recent if _on_backend(checkout, server, t_s, server_pids)]
        for checkout in found:
            self._recent.remove(checkout)
            yield checkout

    def _notable_out(self) -> list[f.CheckOut]:
        return [self._out[number] for number in self._out if number in self._notable]

    def _end_all(self, at_s: float) -> Iterator[f.CheckOut]:
        at = self._around.t_s(at_s)
        for checkout in self._notable_out():
            yield replace(checkout, t_s=at, returned_s=at, returned_by=f.PROCESS_ENDED)

    def _on_start(self, record: r.Start) -> Iterator[f.PoolFact]:
        try:
            r.version_of(record)
            self._unreadable = False
        except ValueError as error:
            self._unreadable = True
            yield f.AgentFault(self._around.t_s(record["t"]), self._pid, "reading its file", str(error))
            return
        if self._process is not None:  # the same pid again: the process called exec, or the pid was reused
            yield from self._end_all(record["t"])
            self._forget()
            self._first_id = self._last_id
        self.heard_s = record["t"]
        self._process = f.AgentProcess(
            t_s=self._around.t_s(record["t"]),
            pid=self._pid,
            ppid=record["ppid"],
            python=record["python"],
            sqlalchemy=None,
            flask=None,
            argv=tuple(record["argv"]),
            forked=record["forked"],
        )
        yield self._process

    def _on_exit(self, record: r.Exit) -> Iterator[f.PoolFact]:
        """Handle an orderly end: what is out was never closed, however new."""
        self._notable |= self._out.keys()
        yield from self._end_all(record["t"])
        yield self._renew(record, exited_s=self._around.t_s(record["t"]))
        self._forget()
        self.heard_s = float("inf")

    def _on_module(self, record: r.Module) -> Iterator[f.PoolFact]:
        yield self._renew(record, **{record["name"]: record["version"]})

    def _on_routes(self, record: r.Routes) -> Iterator[f.PoolFact]:
        yield self._renew(record, routes=tuple(record["routes"]))

    def _renew(self, record: Mapping[str, Any], **changes: Any) -> f.AgentProcess:
        if self._process is None:
            raise ValueError("a record before the process's first one")
        self._process = replace(self._process, t_s=self._around.t_s(record["t"]), **changes)
        return self._process

    def _on_pool(self, record: r.Pool) -> Iterator[f.PoolFact]:
        number = record["id"]
        self._names.pop(number, None)
        name = self._around.pool(number, record["host"], record["port"], record["db"])
        taken = set(self._names.values())
        self._names[number] = next(
            candidate
            for candidate in (name, *(f"{name}#{n}" for n in range(2, len(taken) + 3)))
            if candidate not in taken
        )
        self._kinds[number] = record["kind"]
        yield from ()

    def _on_gone(self, record: r.Gone) -> Iterator[f.PoolFact]:
        self._names.pop(record["pool"], None)
        yield from ()

    def _on_line(self, record: r.Line) -> Iterator[f.PoolFact]:
        self._sites[record["id"]] = self._around.site(record["file"], record["line"], record["function"])
        yield from ()

    def _on_stack(self, record: r.Stack) -> Iterator[f.PoolFact]:
        self._stacks[record["id"]] = tuple(self._sites[number] for number in record["sites"])
        yield from ()

    def _on_sample(self, record: r.Sample) -> Iterator[f.PoolFact]:
        self.heard_s = record["t"]
        at = self._around.t_s(record["t"])
        for number, size, overflow, timeout_s, checked_out, live, waiting, leaked, *counters in record[
            "pools"
        ]:
            name = self._names[number]
            timeouts, connects, checkouts, checkins = self._grow(("sample", name), number, counters)
            yield f.PoolSample(
                t_s=at,
                pid=self._pid,
                pool=name,
                kind=self._kinds[number],
                size=size,
                max_overflow=overflow,
                timeout_s=timeout_s,
                checked_out=checked_out,
                live=live,
                waiting=waiting,
                leaked=leaked,
                timeouts=int(timeouts),
                connects=int(connects),
                checkouts=int(checkouts),
                checkins=int(checkins),
            )
        for number, checkout in self._out.items():
            if number not in self._notable and at - checkout.taken_s >= NOTABLE_AFTER_S:
                self._notable.add(number)
                yield replace(checkout, t_s=at)

    def _grow(self, key: tuple[Any, ...], owner: int, values: list[float]) -> tuple[float, ...]:
        running = self._counters.setdefault(key, Growing(owner, (0.0,) * len(values), (0.0,) * len(values)))
        return running.add(owner, tuple(values))

    def _on_out(self, record: r.Out) -> Iterator[f.PoolFact]:
        number = self._first_id + record["id"]
        self._last_id = max(self._last_id, number)
        stack = self._stacks[record["stack"]]
        self._out[number] = f.CheckOut(
            t_s=self._around.t_s(record["taken"]),
            pid=self._pid,
            id=number,
            pool=self._names[record["pool"]],
            site=stack[0],
            stack=tuple(f"{site.file}:{site.line} {site.function}" for site in stack),
            endpoint=self._around.label(record["endpoint"]),
            thread=record["thread"],
            server_pid=record["server_pid"],
            taken_s=self._around.t_s(record["taken"]),
            owner=self._first_id + record["owner"] if "owner" in record else None,
            by_task=record.get("task", False),
            scoped=record.get("scoped", False),
            own=record.get("own", False),
        )
        yield from ()

    def _on_ended(self, record: r.Ended) -> Iterator[f.PoolFact]:
        number, at = self._first_id + record["id"], self._around.t_s(record["t"])
        checkout = replace(self._out[number], t_s=at, request_ended_s=at, lost=record.get("lost"))
        self._out[number] = checkout
        self._notable.add(number)
        yield checkout

    def _on_resumed(self, record: r.Resumed) -> Iterator[f.PoolFact]:
        number, at = self._first_id + record["id"], self._around.t_s(record["t"])
        checkout = replace(self._out[number], t_s=at, request_ended_s=None, lost=None)
        self._out[number] = checkout
        yield checkout

    def _on_back(self, record: r.Back) -> Iterator[f.PoolFact]:
        number, at = self._first_id + record["id"], self._around.t_s(record["t"])
        checkout = self._out.pop(number)
        if number in self._notable or at - checkout.taken_s >= NOTABLE_AFTER_S:
            self._notable.discard(number)
            yield replace(checkout, t_s=at, returned_s=at, returned_by=record["how"])
            return
        self._recent.append(replace(checkout, t_s=at, returned_s=at, returned_by=record["how"]))
        while (self._recent[0].returned_s or 0.0) < at - RECENT_S:
            self._recent.popleft()

    def _on_site(self, record: r.Site) -> Iterator[f.PoolFact]:
        pool, site = self._names[record["pool"]], self._sites[record["site"]]
        endpoint = self._around.label(record["endpoint"])
        values = [record["checkouts"], record["held"]]
        checkouts, held_s = self._grow(("site", pool, site, endpoint), record["pool"], values)
        yield f.SiteTotal(
            t_s=self._around.t_s(record["t"]),
            pid=self._pid,
            pool=pool,
            site=site,
            endpoint=endpoint,
            checkouts=int(checkouts),
            held_s=round(held_s, 6),
            max_hold_s=record["longest"],
            hold_us=_buckets(record.get("hold", {})),
        )

    def _on_times(self, record: r.Times) -> Iterator[f.PoolFact]:
        yield f.PoolTimes(
            t_s=self._around.t_s(record["t"]),
            pid=self._pid,
            pool=self._names[record["pool"]],
            wait_us=_buckets(record["wait"]),
            hold_us=_buckets(record["hold"]),
            create_us=_buckets(record["create"]),
        )

    def _on_timeout(self, record: r.Timeout) -> Iterator[f.PoolFact]:
        yield f.PoolTimeout(
            t_s=self._around.t_s(record["t"]),
            pid=self._pid,
            pool=self._names[record["pool"]],
            site=self._sites[record["site"]],
            endpoint=self._around.label(record["endpoint"]),
            waited_s=record["waited"],
            holding=record["holding"][0],
            holding_other=record["holding"][1],
            kept=record.get("kept", 0),
            beside=record.get("beside", False),
            requested=record.get("requested", True),
            request=record.get("request"),
        )

    def _on_seen(self, record: Mapping[str, Any]) -> Iterator[f.PoolFact]:
        number, at = self._first_id + record["id"], self._around.t_s(record["t"])
        checkout = self._out[number] = replace(
            self._out[number],
            in_driver=record["driver"],
            in_queue=record["queue"],
            elsewhere=record["elsewhere"],
            streams=record["streams"],
            stands_at=None if record["at"] is None else self._sites[record["at"]],
        )
        if number in self._notable:
            yield replace(checkout, t_s=at)

    def _on_doing(self, record: Mapping[str, Any]) -> Iterator[f.PoolFact]:
        yield f.PoolDoing(
            t_s=self._around.t_s(record["t"]),
            pid=self._pid,
            pool=self._names[record["pool"]],
            driver=record["driver"],
            queue=record["queue"],
            elsewhere=record["elsewhere"],
            streaming=record["streaming"],
            lines=tuple((self._sites[number], count) for number, count in record["lines"]),
            sending=record.get("sending"),
            lock=record.get("lock", 0),
            behind=record.get("behind", 0),
            other_pool=record.get("other_pool", 0),
            unseen=record.get("unseen", 0),
            places=tuple(
                f.Place(what, self._sites[taken], None if seen is None else self._sites[seen], looks)
                for what, taken, seen, looks in record.get("places", ())
            ),
        )

    def _on_inherited(self, record: r.Inherited) -> Iterator[f.PoolFact]:
        pool, pids = self._names[record["pool"]], tuple(record["pids"])
        yield f.Inherited(self._around.t_s(record["t"]), self._pid, pool, pids, record["uses"])

    def _on_loop(self, record: Mapping[str, Any]) -> Iterator[f.PoolFact]:
        site = None if record["at"] is None else self._sites[record["at"]]
        t_s = self._around.t_s(record["t"])
        yield f.LoopSample(
            t_s,
            self._pid,
            record["samples"],
            record["blocked"],
            site,
            driver=record.get("driver"),
            waits=record.get("waits", 0),
            computes=record.get("computes", 0),
            at_site=record.get("there"),
            longest_s=record.get("longest", 0.0),
        )

    def _on_engines(self, record: r.Engines) -> Iterator[f.PoolFact]:
        t_s, site = self._around.t_s(record["t"]), self._sites[record["at"]]
        yield f.EnginesMade(t_s, self._pid, site, record["made"], record["alive"])

    def _on_collected(self, record: r.Collected) -> Iterator[f.PoolFact]:
        yield f.Collected(self._around.t_s(record["t"]), self._pid)

    def _on_fault(self, record: r.Fault) -> Iterator[f.PoolFact]:
        yield f.AgentFault(self._around.t_s(record["t"]), self._pid, record["where"], record["error"])


def _buckets(of: Mapping[str, int]) -> dict[int, int]:
    return {int(bound): count for bound, count in of.items()}


def _on_backend(checkout: f.CheckOut, server: str, t_s: float, server_pids: Set[int]) -> bool:
    held = checkout.taken_s <= t_s and (checkout.returned_s is None or t_s <= checkout.returned_s)
    return held and checkout.server_pid in server_pids and f.server_of(checkout.pool) == server


_HANDLERS: Final[dict[str, Callable[[PoolProcess, Any], Iterator[f.PoolFact]]]] = {
    name.removeprefix("_on_"): handler
    for name, handler in vars(PoolProcess).items()
    if name.startswith("_on_")
}
