"""Computes what the connections of a full pool were held for (pure).

The agent looks at each thread, greenlet or task that holds a connection: it waits for the server, waits for
another connection, sends a response, or does something else. The server says of the same connection, by
the pid of its backend, whether it runs a query or waits for its client.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from rushhour.diagnosis.findings import Evidence
from rushhour.diagnosis.following import Following, followings
from rushhour.diagnosis.pressure import PressureSignals, server_samples
from rushhour.diagnosis.sites import at, may_be_of
from rushhour.diagnosis.units import REQUEST, unit_of_endpoint
from rushhour.rundir import History
from rushhour.rundir import facts as f

LOOKS: Final = (
    *("driver", "queue", "behind", "lock", "other_pool"),
    *("streaming", "sending", "elsewhere", "unseen"),
)
ELSEWHERE: Final = ("elsewhere", "socket", "lock", "other_query", "computes", "inside")  # kinds of places
NEARLY_ALL: Final = 0.9  # of the looks at those elsewhere
T = TypeVar("T")
MANY_AT_ONE_LINE: Final = 3  # connections of an owner
FEW: Final = 0.1  # of the looks at those who are not at the server
FOR_A_WHILE_S: Final = 0.5  # a connection that is out for less may have asked only once
LATELY: Final = 0.25  # of the time that a connection is out: who asked once, or twice, seldom asked so lately
MOST: Final = 0.5  # of the looks, or of the backends that idled
SOME: Final = 0.25  # of the looks
WAITED_SHARE: Final = 0.9  # of a wait that timed out: its last part, so that two in a row do not overlap


@dataclass(frozen=True, slots=True)
class HoldSignals:
    """The signals of a pool of a process while it was full; shares are of the looks at its holders."""

    pool: str
    looks: int
    driver: float  # waiting for the server
    queue: float  # waiting for another connection of the pool
    behind: float  # waiting for a lock whose owner waits in a pool's queue
    lock: float  # waiting for another lock of the service's
    streaming: float  # making a response while it is sent
    sending: float  # waiting for a client to take what was sent; in older runs all streaming
    elsewhere: float  # waiting for something else, locks included
    unseen: float  # of all looks, those that did not find who works with the connection
    line: f.CallSite | None  # where most of those stood that were not in the driver
    line_share: float  # of them
    joined: int  # pairs of a check-out and its backend, at one moment
    server_idle: float | None  # of them, those in which the backend waited for its client
    server_active: float | None  # of them, those in which it ran a query
    timeouts: int  # written one by one
    holding: int  # of them, those whose request held a connection of this pool
    claimed: int  # connections that requests in the queue held at one moment, as the time-outs say: the most
    oldest_stream_s: float  # how long a connection was held by one streamed response at most
    streamed: str | None  # the endpoint of most of these responses
    places: Mapping[tuple[str, f.CallSite, f.CallSite | None], int]  # what, taken at, seen at -> looks
    second: f.CallSite | None  # where most of those were turned away who held a connection
    repeated: int = 0  # connections of owners that took three or more at one line, and gave none back
    repeated_at: f.CallSite | None = None  # where most of those were taken
    repeaters: int = 0  # these owners
    away: tuple[tuple[f.CallSite, int], ...] = ()  # lines where time-outs were raised, the most first
    crossed: float = 0.0  # in the queue of another pool, whose holders wait for this one
    beside: float = 0.0  # of the connection-seconds: a task that the request left waited for one in vain
    beside_at: f.CallSite | None = None  # where most of these tasks asked
    following: Following | None = None  # what comes back does so just after time-outs at a line
    unasked: float = 0.0  # tasks, threads and requests of no known customer that waited in vain, on average
    unasked_at: f.CallSite | None = None  # where most of them asked
    asked_again: float = 0.0  # of the idle backends of connections out for a while: asked again, lately
    worked: float = 0.0  # of `driver`, what the server says it ran queries for; all, where it says nothing

    @property
    def may_try_again(self) -> bool:
        """Whether holders may try again and again for what another request has on the server.

        Not if nearly all of those elsewhere wait for what a socket receives: in a pause nothing is received.
        """
        received = self.share_of_places("socket", among=ELSEWHERE)
        return self.asked_again >= MOST and received < NEARLY_ALL

    @property
    def late(self) -> float:
        """The share of those in the driver while their backends idle: they read answers late; 0 if few."""
        late = self.driver - self.worked
        return late if late >= SOME else 0.0

    @property
    def mostly_elsewhere(self) -> bool:
        """Whether most were elsewhere, of those of whom it is known what they wait for: all but the late."""
        return self.elsewhere >= max(SOME, MOST * (1 - self.late))

    @property
    def waiting_for_another(self) -> float:
        """The share in a queue that they block themselves, or at a lock whose owner is in that queue."""
        return self.queue + self.behind + self.crossed

    def taken(self, *whats: str) -> f.CallSite | None:
        """The line at which most of the holders seen at this took their connection."""
        return self._most(0, whats)

    def seen(self, *whats: str) -> f.CallSite | None:
        """The line at which most of them were seen."""
        return self._most(1, whats)

    def share_of_places(self, what: str, *, among: tuple[str, ...]) -> float:
        """Return the share of a kind of place among these kinds; 0 if none was seen."""
        looks = {kind: sum(n for (kept, *_), n in self.places.items() if kept == kind) for kind in among}
        return looks[what] / sum(looks.values()) if sum(looks.values()) else 0.0

    def _most(self, part: int, whats: tuple[str, ...]) -> f.CallSite | None:
        """Return the most frequent line; None if most were at no line of the service, as in a framework."""
        counts: Counter[f.CallSite | None] = Counter()
        for (what, *sites), looks in self.places.items():
            if what in whats:
                counts[sites[part]] += looks
        nowhere = counts.pop(None, 0)
        if nowhere > counts.total():
            return None
        return next((site for site, _ in counts.most_common(1)), None)


def hold_signals(history: History, pressure: PressureSignals | None) -> HoldSignals | None:
    """Compute the signals; None if no pool was full, or if no holder was seen and nobody timed out."""
    if pressure is None:
        return None
    looks, lines, places = _looks(history, pressure)
    unseen = looks.pop("unseen", 0)
    total = sum(looks.values())
    late = [
        timeout
        for timeout in history.pool_timeouts
        if (timeout.pid, timeout.pool) == (pressure.pid, pressure.pool)
    ]
    if not total and not late:
        return None
    line, most = next(iter(lines.most_common(1)), (None, 0))
    stood = max(lines.total(), looks["elsewhere"] + looks["lock"])  # also at no line of the service
    if lines.total() < MOST * stood:
        line, most = None, 0
    pairs = _joined(history, pressure)
    states = Counter(backend.state for _, backend, _ in pairs)
    idle = sum(count for state, count in states.items() if state.startswith("idle"))
    repeated = _repeated(history, pressure)
    streams = [
        out
        for out in history.checkouts
        if out.streams and (out.pid, out.pool) == (pressure.pid, pressure.pool)
    ]
    streamed_s = [
        (pressure.to_s if out.returned_s is None else out.returned_s) - out.taken_s for out in streams
    ]
    shares = {what: count / total if total else 0.0 for what, count in looks.items()}
    held = [timeout.holding + (timeout.holding_other if pressure.crossed else 0) for timeout in late]
    holding = Counter(timeout.site for timeout, count in zip(late, held, strict=True) if count > 0)
    takers = _takers(places)  # who waits there is the next of the holders
    follows = followings(history, pressure, takers)
    refuted = {site for site, one in follows.items() if one.is_refuted}
    beside = [timeout for timeout in late if timeout.beside and timeout.site not in refuted]
    knows_requests = any(timeout.requested for timeout in late)  # the agent tracks those of this server
    unknown = _unknown_routes(history, late)
    unasked = [
        timeout
        for timeout in late
        if ((knows_requests and not timeout.requested) or timeout.endpoint in unknown)
        and timeout.site not in takers | refuted
    ]
    waits_s = [sum(timeout.waited_s for timeout in some) for some in (beside, unasked)]
    full_s = max(pressure.full_s, 1.0)
    return HoldSignals(
        pool=pressure.pool,
        looks=total,
        driver=shares["driver"],
        queue=shares["queue"],
        behind=shares["behind"],
        lock=shares["lock"],
        streaming=shares["streaming"],
        sending=shares["sending"],
        elsewhere=shares["elsewhere"] + shares["lock"],
        unseen=unseen / (total + unseen) if unseen else 0.0,
        line=line,
        line_share=most / stood if stood else 0.0,
        joined=len(pairs),
        server_idle=idle / len(pairs) if pairs else None,
        server_active=states["active"] / len(pairs) if pairs else None,
        timeouts=len(late),
        holding=holding.total(),
        claimed=_claimed(late),
        oldest_stream_s=max(streamed_s, default=0.0),
        streamed=_most_frequent(out.endpoint for out in streams if out.endpoint is not None),
        places=places,
        second=_most_frequent(holding.elements()),
        repeated=sum(len(group) for group in repeated),
        repeated_at=_most_frequent(out.site for group in repeated for out in group),
        repeaters=len({group[0].owner for group in repeated}),
        away=tuple(Counter(timeout.site for timeout in late).most_common()),
        crossed=shares["other_pool"] if pressure.crossed else 0.0,
        beside=min(waits_s[0] / (full_s * pressure.capacity), 1.0),
        following=max((one for one in follows.values() if one.holds), key=lambda one: one.near, default=None),
        beside_at=_most_frequent(timeout.site for timeout in beside),
        unasked=waits_s[1] / full_s,
        unasked_at=_most_frequent(timeout.site for timeout in unasked),
        asked_again=_asked_again(pairs),
        worked=_worked(shares["driver"], states["active"] / len(pairs) if pairs else None, pressure),
    )


def _repeated(history: History, pressure: PressureSignals) -> list[list[f.CheckOut]]:
    """Return the connections that were out at the end of the trouble, by owner and line: three or more.

    Who waits for a second connection takes it at another line. The same line, again and again, is a loop that
    closes nothing.
    """
    groups: dict[tuple[int | None, tuple[str, ...]], list[f.CheckOut]] = {}
    for out in history.checkouts:
        ends = [moment for moment in (out.request_ended_s, out.returned_s) if moment is not None]
        if (out.pid, out.pool) != (pressure.pid, pressure.pool) or out.owner is None:
            continue
        if out.taken_s <= pressure.to_s <= min(ends, default=pressure.to_s):
            groups.setdefault((out.owner, out.stack), []).append(out)
    return [group for group in groups.values() if len(group) >= MANY_AT_ONE_LINE]


def _most_frequent(values: Iterable[T]) -> T | None:
    return next((value for value, _ in Counter(values).most_common(1)), None)


def _claimed(late: list[f.PoolTimeout]) -> int:
    """Return the most connections that waiters held at one moment and then timed out with.

    Several tasks of a request that wait for one each claim the same connections of this request.
    """
    steps: list[tuple[float, int, int, int]] = []  # when, one more or less who claims, who, how many
    for number, timeout in enumerate(late):
        if timeout.holding:
            who = -number if timeout.request is None else timeout.request
            steps.append((timeout.t_s - timeout.waited_s * WAITED_SHARE, 1, who, timeout.holding))
            steps.append((timeout.t_s, -1, who, timeout.holding))
    claims: dict[int, Counter[int]] = {}
    held = most = 0
    for _, change, who, count in sorted(steps):
        claim = claims.setdefault(who, Counter())
        held -= max(claim, default=0)
        claim[count] += change
        claims[who] = claim = +claim
        held += max(claim, default=0)
        most = max(most, held)
    return most


def _worked(driver: float, active: float | None, pressure: PressureSignals) -> float:
    """Return for how many of those in the driver the server ran a query.

    Only long holds are joined with their backends one by one, so that all of its backends count as well.
    """
    return driver if active is None else min(driver, max(active, pressure.active_share or 0.0))


def _unknown_routes(history: History, late: list[f.PoolTimeout]) -> set[str | None]:
    """Return the routes for which no customer is known to have asked, as those that the service asks itself.

    Empty where no route can be matched to the customers' by name. Of a websocket customers may say nothing.
    """
    asked = {row.endpoint for row in history.requests}
    routes = {
        timeout.endpoint
        for timeout in late
        if timeout.endpoint is not None and unit_of_endpoint(timeout.endpoint) == REQUEST
    }
    unknown: set[str | None] = {
        route for route in routes if not any(may_be_of(name, route) for name in asked)
    }
    return unknown if len(unknown) < len(routes) else set()


Places = Counter[tuple[str, f.CallSite, f.CallSite | None]]


def _looks(history: History, pressure: PressureSignals) -> tuple[Counter[str], Counter[f.CallSite], Places]:
    looks = Counter(dict.fromkeys(LOOKS, 0))
    lines: Counter[f.CallSite] = Counter()
    places: Places = Counter()
    for look in history.doing:
        if (look.pid, look.pool) == (pressure.pid, pressure.pool) and _during(look.t_s, pressure):
            told_apart = look.sending is not None
            looks.update(
                driver=look.driver,
                queue=look.queue,
                behind=look.behind,
                lock=look.lock,
                other_pool=look.other_pool,
                streaming=look.streaming if told_apart else 0,
                sending=(look.sending or 0) if told_apart else look.streaming,
                elsewhere=look.elsewhere,
                unseen=look.unseen,
            )
            for site, count in look.lines:
                lines[site] += count
            for place in look.places:
                places[place.what, place.taken, place.seen] += place.looks
    return looks, lines, places


def _takers(places: Places) -> set[f.CallSite]:
    """Return where those took their connection who were seen at something else than the server."""
    away: Counter[f.CallSite] = Counter()
    for (what, taken, _), looks in places.items():
        if what not in ("driver", "unseen"):
            away[taken] += looks
    return {taken for taken, looks in away.items() if looks >= FEW * away.total()}


Pair = tuple[f.CheckOut, f.Backend, float]  # a connection, its backend, and the moment of both


def _joined(history: History, pressure: PressureSignals) -> list[Pair]:
    """Return what the server said, by backend pid, of connections that running requests held."""
    held = [
        checkout
        for checkout in history.checkouts
        if (checkout.pid, checkout.pool) == (pressure.pid, pressure.pool) and checkout.server_pid is not None
    ]
    pairs: list[Pair] = []
    for sample in server_samples(history, pressure.pool, pressure.from_s, pressure.to_s):
        backends = {backend.pid: backend for backend in sample.backends}
        for out in held:
            ends = [moment for moment in (out.request_ended_s, out.returned_s) if moment is not None]
            backend = backends.get(out.server_pid or 0)
            if backend is not None and out.taken_s <= sample.t_s < min(ends, default=sample.t_s + 1):
                pairs.append((out, backend, sample.t_s))
    return pairs


def _asked_again(pairs: list[Pair]) -> float:
    """Return the share of the idle backends that were asked lately, of connections that are out for a while.

    Who asks once, and then waits for something else, leaves its backend idle for most of the hold.
    """
    lately = [
        backend.state_s <= LATELY * (t_s - out.taken_s)
        for out, backend, t_s in pairs
        if backend.state.startswith("idle") and t_s - out.taken_s >= FOR_A_WHILE_S
    ]
    return sum(lately) / len(lately) if lately else 0.0


def _during(t_s: float, pressure: PressureSignals) -> bool:
    return pressure.from_s <= t_s <= pressure.to_s + 1


def or_tried_again(holds: HoldSignals) -> str:
    """Name the other candidate, where the holders ask the server again and again; empty where they do not."""
    if not holds.may_try_again:
        return ""
    return (
        " They ask the server again and again in between. If they wait for what another request has there (a "
        "lock that is tried with NOWAIT or pg_try_advisory_lock, a flag, a transaction that is repeated), it "
        "is an own-lock-chain: who has it sets the pace."
    )


def hold_evidence(holds: HoldSignals) -> tuple[Evidence, ...]:
    """Return the evidence for what connections were held for."""
    found = [
        Evidence(
            f"looks at those who held one, {words}",
            round(share * 100, 1),
            "%",
            f"pool.jsonl doing.{field}",
            f"of {holds.looks:,} looks while the pool was full",
        )
        for field, words, share in (
            ("driver", "waiting for the server", holds.driver),
            ("queue", "waiting for another connection", holds.queue),
            ("behind", "at a lock whose owner waits for a connection", holds.behind),
            ("other_pool", "waiting for a connection of another pool", holds.crossed),
            ("streaming", "making a response while it is sent", holds.streaming),
            ("sending", "waiting for a client to read", holds.sending),
            ("elsewhere", "doing other things", holds.elsewhere),
            ("lock", "of these, at a lock", holds.lock),
        )
        if share
    ]
    if holds.line is not None:
        found.append(
            Evidence(
                "line where most of those stood that did not wait for the server",
                at(holds.line),
                source="pool.jsonl doing.lines",
                meaning=f"{holds.line_share:.0%} of them",
            )
        )
    if holds.server_idle is not None:
        found.append(
            Evidence(
                "backends of these connections that idled",
                round(holds.server_idle * 100, 1),
                "%",
                "postgres.jsonl backends joined with pool.jsonl checkout.server_pid",
                f"of {holds.joined:,} pairs",
            )
        )
    if holds.timeouts:
        found.append(
            Evidence(
                "time-outs of requests that held a connection of this pool already",
                f"{holds.holding} of {holds.timeouts}",
                source="pool.jsonl timeout.holding",
            )
        )
    return tuple(found)
