"""Hand-written histories: what a run directory would hold, told as short stories.

`incident()`, `staging()`, `unclosed()`, `saturated()`, `dead_backend()` and `healthy()` are whole runs;
`cut_short`, `without_agent` and `dataclasses.replace` make them worse.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from rushhour.metrics.latencies import new_histogram
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import SCENARIO, Scenario

LIST = "GET /customers/:id/referrals"
SUMMARY = "GET /customers/:id/summary"
ROUTE = "GET /customers/<int:customer_id>/referrals"  # LIST, as the service spells it
SITE = f.CallSite("app/referrals.py", 88, "list_referrals")
OTHER_SITE = f.CallSite("app/customers.py", 31, "summary")
PID = 4242
STARTED_S = 5.0  # the load starts this long after the run's anchor
CAPACITY = 30

THRESHOLDS = (
    "queuepool_timeouts == 0",
    "http_5xx_rate < 0.1%",
    "leaked_connections == 0",
    "pool_in_use_max < 80%",
    "p95 < 400ms",
    f"p95{{{LIST}}} < 600ms",
    "replica_lag_max < 2s",
)


def scenario(**changes: Any) -> Scenario:
    """The scenario `gate`, with changes."""
    plain: dict[str, Any] = {
        "name": "gate",
        "target": {
            "name": "referrals",
            "command": "gunicorn --bind {host}:{port}",
            "health": "/health",
            "releases": ("1.0", "1.1", "1.1.1"),
            "schema": "app/schema.sql",
        },
        "load": {"users": 800, "duration": 75.0},
        "release": "1.1",
        "expect": "healthy",
        "thresholds": THRESHOLDS,
    }
    made: Scenario = SCENARIO.validate_json(json.dumps(plain | changes))
    return made


def rush_hour(**changes: Any) -> Scenario:
    """The scenario that expects the incident."""
    return scenario(**{"name": "rush-hour", "expect": "exhausted", "cause": "scope-never-removed"} | changes)


def testers(**changes: Any) -> Scenario:
    """The scenario `staging`: ten testers, judged on HTTP alone."""
    plain = {
        "name": "staging",
        "judge": "http",
        "load": {"users": 10, "duration": 75.0},
        "thresholds": ("http_5xx_rate < 0.1%", "p95 < 400ms"),
    }
    return scenario(**plain | changes)


@dataclass(frozen=True, slots=True)
class Level:
    """A pool at one moment; counters since its start."""

    out: int
    live: int | None = None  # as many as `out`, unless said otherwise
    waiting: int = 0
    leaked: int = 0
    timeouts: int = 0
    checkouts: int = 0


@dataclass(slots=True)
class Story:
    """Collects facts; times are in seconds since the load started."""

    duration_s: int = 75
    drain_s: float = 2.0
    users: int = 800
    facts: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, series: str, *new: Any) -> None:
        self.facts.setdefault(series, []).extend(new)

    def requests(
        self,
        endpoint: str,
        count: int,
        ms: float,
        outcome: f.Outcome = f.Outcome.OK,
        seconds: range | None = None,
    ) -> None:
        """`count` requests that ended in each of these seconds, all seconds of the load by default."""
        for second in range(self.duration_s) if seconds is None else seconds:
            t_s = int(STARTED_S) + second
            self.add("requests", request_row(t_s, endpoint, count, ms, outcome))

    def pool(self, name: str, level: Callable[[float], Level], pid: int = PID) -> None:
        """Samples five times a second, until the end of the drain."""
        for tick in range(int((self.duration_s + self.drain_s) * 5)):
            at = level(tick / 5)
            self.add(
                "pools",
                f.PoolSample(
                    t_s=STARTED_S + tick / 5,
                    pid=pid,
                    pool=name,
                    kind="QueuePool",
                    size=20,
                    max_overflow=10,
                    timeout_s=30.0,
                    checked_out=at.out,
                    live=at.out if at.live is None else at.live,
                    waiting=at.waiting,
                    leaked=at.leaked,
                    timeouts=at.timeouts,
                    connects=at.out,
                    checkouts=at.checkouts,
                    checkins=at.checkouts - at.out,
                ),
            )

    def checkout(self, number: int, taken_s: float, thread: str, **changes: Any) -> None:
        """A check-out whose request ended 40 ms later; it is still out, unless said otherwise."""
        plain: dict[str, Any] = {
            "t_s": STARTED_S + taken_s + 0.1,
            "pid": PID,
            "id": number,
            "pool": "replica",
            "site": SITE,
            "stack": (f"{SITE.file}:{SITE.line} {SITE.function}",),
            "endpoint": ROUTE,
            "thread": thread,
            "server_pid": 9000 + number,
            "taken_s": STARTED_S + taken_s,
            "request_ended_s": STARTED_S + taken_s + 0.04,
        }
        self.add("checkouts", f.CheckOut(**plain | changes))

    def site(self, checkouts: int, held_s: float, max_hold_s: float = 0.05, **changes: Any) -> None:
        """Totals of one call site at the end of the load."""
        plain: dict[str, Any] = {
            "t_s": STARTED_S + self.duration_s,
            "pid": PID,
            "pool": "replica",
            "site": SITE,
            "endpoint": ROUTE,
        }
        totals = {"checkouts": checkouts, "held_s": held_s, "max_hold_s": max_hold_s}
        self.add("sites", f.SiteTotal(**plain | totals | changes))

    def timeout(self, t_s: float) -> None:
        self.add("pool_timeouts", f.PoolTimeout(STARTED_S + t_s, PID, "replica", SITE, ROUTE, 30.0))

    def event(self, t_s: float, name: str, **detail: Any) -> None:
        self.add("events", f.Event(STARTED_S + t_s, name, detail))

    def server(self, name: str, states: dict[str, int], seconds: range, **changes: Any) -> None:
        """One sample of a server in each of these seconds."""
        for second in seconds:
            lag = {"lag_s": 0.02} if name == "replica" else {}
            self.add(
                "servers",
                f.ServerSample(STARTED_S + second + 0.5, name, **{"states": states, **lag, **changes}),
            )

    def cpu(self, component: str, cores: float, limit_cores: float | None = None) -> None:
        for second in range(self.duration_s):
            self.add("host", f.HostSample(STARTED_S + second + 0.5, component, cores, 80.0, 3, limit_cores))

    def history(self) -> History:
        """The history, with the generator and the run's own events around what was collected."""
        sent: dict[int, int] = {}
        for row in self.facts.get("requests", []):
            sent[row.t_s] = sent.get(row.t_s, 0) + row.count
        for second in range(self.duration_s):
            t_s = int(STARTED_S) + second
            self.add(
                "generator", f.GeneratorSample(t_s, "local", self.users, sent.get(t_s, 0), 0, 2.5, 9.0, 0.3)
            )
        over_s = STARTED_S + self.duration_s
        ending = (
            f.Event(over_s, f.LOAD_ENDED, {"completed": True}),
            f.Event(over_s + self.drain_s, f.DRAINED),
            f.Event(over_s + self.drain_s + 1, f.RUN_ENDED),
        )
        beginning = (f.Event(0.0, f.ANCHOR), f.Event(STARTED_S, f.LOAD_STARTED))
        events = sorted((*beginning, *self.facts.get("events", []), *ending), key=lambda event: event.t_s)
        process = f.AgentProcess(1.0, PID, 1, "3.13.1", "2.1.0", "3.1.2")
        series = {name: tuple(facts) for name, facts in self.facts.items()}
        series["requests"] = tuple(sorted(series.get("requests", ()), key=lambda row: row.t_s))
        return History(environment=None, **series | {"events": tuple(events), "processes": (process,)})


def listening(history: History, pool: str, count: int) -> History:
    """The same run beside consumers, each of which listens over a connection from before the load on."""
    story = Story()
    for number in range(count):
        changes = {"id": -1 - number, "pool": pool, "endpoint": None, "request_ended_s": None}
        story.checkout(number, -3.0, f"consumer-{number}", site=OTHER_SITE, **changes)
    return dataclasses.replace(
        history,
        checkouts=(*history.checkouts, *story.facts["checkouts"]),
        pools=tuple(
            dataclasses.replace(sample, checked_out=sample.checked_out + count)
            if sample.pool == pool
            else sample
            for sample in history.pools
        ),
    )


def request_row(t_s: int, endpoint: str, count: int, ms: float, outcome: f.Outcome) -> f.RequestCount:
    """A row of requests.jsonl whose requests all took `ms`; `t_s` since the run's anchor."""
    return f.RequestCount(t_s, endpoint, outcome, count, _latencies(int(ms * 1000), count))


@cache
def _latencies(took_us: int, count: int) -> str:
    histogram = new_histogram()
    histogram.record_value(took_us, count)
    return str(histogram.encode().decode())


def _quiet(story: Story) -> None:
    """What is the same in most stories: light requests, the primary, CPU."""
    story.requests(SUMMARY, 50, 12)
    story.pool("primary", lambda t: Level(out=4 if t < story.duration_s else 0, checkouts=int(t * 50)))
    story.site(checkouts=3700, held_s=22.0, pool="primary", site=OTHER_SITE, endpoint=SUMMARY)
    story.server("primary", {"active": 2, "idle": 10}, range(story.duration_s + 2))
    story.cpu("primary", 0.2)
    story.cpu("replica", 0.3, limit_cores=0.5)
    story.cpu("service", 0.5)


@cache
def healthy() -> History:
    """Release 1.1.1: sessions come back."""
    story = Story()
    _quiet(story)
    story.requests(LIST, 30, 34)
    story.pool("replica", lambda t: Level(out=12 if t < 75 else 0, checkouts=int(t * 30)))
    story.site(checkouts=2250, held_s=76.0)
    story.server("replica", {"active": 3, "idle": 9}, range(77))
    return story.history()


@lru_cache(maxsize=32)  # for tests by property there are many
def incident(leaked: int = CAPACITY, timeouts: int = 15, users: int = 800) -> History:
    """Release 1.1 at rush hour: each thread keeps its first connection, and goes on answering with it."""
    story = Story(users=users)
    _quiet(story)
    full_s = 41.0
    last_s = full_s if leaked == CAPACITY else 60.0
    taken_s = [12 + (last_s - 12) * number / max(1, leaked - 1) for number in range(leaked)]
    story.requests(LIST, 30, 36)
    late_s = [full_s + 30.2 + 0.2 * number for number in range(timeouts)]

    def level(t: float) -> Level:
        held = sum(taken <= t for taken in taken_s)
        waiting = sum(late - 30 <= t < late for late in late_s)
        return Level(
            held, waiting=waiting, leaked=held, timeouts=sum(late <= t for late in late_s), checkouts=held
        )

    story.pool("replica", level)
    for number, taken in enumerate(taken_s, 1):
        story.checkout(number, taken, thread=f"ThreadPoolExecutor-0_{number}")
    story.site(checkouts=leaked, held_s=0.0, max_hold_s=0.0)
    for late in late_s:
        story.timeout(late)
        story.requests(LIST, 1, 30_010, f.Outcome.QUEUEPOOL_TIMEOUT, range(int(late), int(late) + 1))
        story.event(late + 0.3, f.LOG_ERRORS, source="service", queuepool_timeouts=1, errors=0)
    where = f"{SITE.file}:{SITE.line} {SITE.function}"
    story.event(13.2, f.LEAK_DETECTED, pool="replica", pid=PID, site=where, endpoint=ROUTE, leaked=1)
    if leaked == CAPACITY:
        story.event(
            full_s + 0.2, f.POOL_FULL, pool="replica", pid=PID, checked_out=30, capacity=30, leaked=30
        )
    story.server(
        "replica", {"idle in transaction": leaked, "active": 2}, range(77), oldest_idle_in_xact_s=20.0
    )
    return story.history()


def staging(leaked: int = 5) -> History:
    """Release 1.1 under ten testers: a few connections leak, and every answer is good."""
    return incident(leaked=leaked, timeouts=0, users=10)


def unclosed(every: int = 1, threads: int = 8) -> History:
    """A path without `close()`: one in `every` requests leaks. Once the pool is full nothing is answered."""
    story = Story()
    _quiet(story)
    taken_s = [12 + number * 0.5 for number in range(CAPACITY)]
    full_s = taken_s[-1]
    story.requests(LIST, 2 * every, 36, seconds=range(12, int(full_s) + 1))
    late_s = [full_s + 30.2 + 0.2 * number for number in range(60)]
    for late in late_s:
        story.timeout(late)
        story.requests(LIST, 1, 30_010, f.Outcome.QUEUEPOOL_TIMEOUT, range(int(late), int(late) + 1))
        story.event(late + 0.3, f.LOG_ERRORS, source="service", queuepool_timeouts=1, errors=0)

    def level(t: float) -> Level:
        held = sum(taken <= t for taken in taken_s)
        late = sum(late <= t for late in late_s)
        return Level(
            held, waiting=40 if held == CAPACITY else 0, leaked=held, timeouts=late, checkouts=held * every
        )

    story.pool("replica", level)
    for number, taken in enumerate(taken_s, 1):
        story.checkout(number, taken, thread=f"ThreadPoolExecutor-0_{number % threads}")
    story.site(checkouts=CAPACITY * every, held_s=1.0)
    story.server("replica", {"idle in transaction": CAPACITY}, range(77), oldest_idle_in_xact_s=50.0)
    return story.history()


def saturated() -> History:
    """A slow query under many customers: every connection at work, forty threads in the queue."""
    story = Story()
    _quiet(story)
    story.requests(LIST, 7, 9_000)
    late_s = [60 + 0.2 * number for number in range(20)]
    for late in late_s:
        story.timeout(late)
        story.requests(LIST, 1, 30_010, f.Outcome.QUEUEPOOL_TIMEOUT, range(int(late), int(late) + 1))
        story.event(late + 0.3, f.LOG_ERRORS, source="service", queuepool_timeouts=1, errors=0)

    def level(t: float) -> Level:
        late = sum(late <= t for late in late_s)
        if t < 20 or t >= 75:
            return Level(0 if t >= 75 else 20, timeouts=late, checkouts=int(t * 7))
        return Level(CAPACITY, waiting=min(40, int(t)), timeouts=late, checkouts=int(t * 7))

    story.pool("replica", level)
    story.site(checkouts=525, held_s=2100.0, max_hold_s=5.2)
    for second in range(75):
        story.add(
            "times", f.PoolTimes(STARTED_S + second, PID, "replica", hold_us={4_194_304: 1, 8_388_608: 6})
        )
    story.server("replica", {"active": 20}, range(20))
    story.server("replica", {"active": 29, "idle in transaction": 1}, range(20, 75))
    story.server("replica", {"idle": 30}, range(75, 77))
    story.facts["host"] = [item for item in story.facts["host"] if item.component != "replica"]
    story.cpu("replica", 0.49, limit_cores=0.5)
    return story.history()


def dead_backend() -> History:
    """The replica stops answering 40 s into the load: queries hang, and new connections as well."""
    story = Story()
    _quiet(story)
    story.requests(LIST, 30, 34, seconds=range(40))
    story.requests(LIST, 4, 30_010, f.Outcome.QUEUEPOOL_TIMEOUT, range(70, 75))
    for number in range(20):
        late = 70.1 + number * 0.25
        story.timeout(late)
        story.event(late + 0.05, f.LOG_ERRORS, source="service", queuepool_timeouts=1, errors=0)

    def level(t: float) -> Level:
        if t < 40:
            return Level(12, checkouts=int(t * 30))
        late = min(20, max(0, int((t - 70.1) / 0.25) + 1)) if t >= 70.1 else 0
        return Level(CAPACITY, live=12, waiting=30, timeouts=late, checkouts=1200)

    story.pool("replica", level)
    story.site(checkouts=1212, held_s=41.0)
    for number in range(12):
        story.checkout(number, 40.0, thread=f"ThreadPoolExecutor-0_{number}", request_ended_s=None)
    story.server("replica", {"active": 3, "idle": 9}, range(40))
    silent: dict[str, Any] = {"error": "no answer within 2 s", "lag_s": None}
    story.server("replica", {}, range(40, 77), **silent)
    return story.history()


def cut_short(history: History, at_s: float) -> History:
    """The same run, killed `at_s` seconds into the load."""
    end_s = STARTED_S + at_s
    kept: dict[str, Any] = {
        item.name: tuple(fact for fact in getattr(history, item.name) if fact.t_s <= end_s)
        for item in dataclasses.fields(history)
        if item.name != "environment"
    }
    return dataclasses.replace(history, **kept)


def without_agent(history: History) -> History:
    """The same run, of a service in which the agent never started."""
    return dataclasses.replace(
        history,
        processes=(),
        pools=(),
        checkouts=(),
        sites=(),
        pool_timeouts=(),
        times=(),
        doing=(),
        inherited=(),
        loops=(),
        engines=(),
        collections=(),
        agent_faults=(),
        events=tuple(
            event
            for event in history.events
            if event.name not in (f.LEAK_DETECTED, f.POOL_FULL, f.FIRST_TIMEOUT)
        ),
    )
