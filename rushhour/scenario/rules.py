"""Finds values of a scenario that are valid by themselves but contradict each other (pure)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rushhour.scenario.arrivals import MOST_PER_S, expected, peak
from rushhour.scenario.compose_rules import compose_problems
from rushhour.scenario.model import Load, Scenario
from rushhour.scenario.target_rules import target_problems

# The faults that are possible in each state of a server, and the state that follows.
_STATES: Final[dict[str, dict[str, str]]] = {
    "up": {"pause": "paused", "stop": "down", "kill": "down", "black-hole": "cut off", "lock": "locked"},
    "paused": {"unpause": "up", "kill": "down"},
    "down": {"start": "up"},
    "cut off": {"restore": "up"},
    "locked": {"unlock": "up"},
}

# What only a load with `users:` has.
_OF_USERS: Final = {
    "shape": "write a curve of rates, as in `arrivals: [[0s, 10/s], [60s, 40/s]]`",
    "spawn_rate": "the rate of arrivals says how many customers come a second",
    "push_share": "arrivals have no shape that sends push notifications",
}

Problem = tuple[tuple[str | int, ...], str]  # the key to blame, and what is wrong


def contradictions(scenario: Scenario) -> list[Problem]:
    """Return every contradiction in a scenario."""
    return [
        *_load(scenario),
        *_expectation(scenario),
        *_faults(scenario),
        *target_problems(scenario),
        *compose_problems(scenario),
        *_files(scenario),
    ]


def _load(scenario: Scenario) -> Iterator[Problem]:
    load, pool = scenario.load, scenario.pool
    if load.warm_up >= load.duration:
        yield (
            ("load", "warm_up"),
            f"warm_up {load.warm_up:g} s leaves nothing to measure of duration {load.duration:g} s",
        )
    yield from _customers(load)
    if load.users is not None and load.users / load.spawn_rate > load.duration:
        needed_s = load.users / load.spawn_rate
        message = (
            f"{load.users} users at {load.spawn_rate:g} a second need {needed_s:.0f} s of {load.duration:g} s"
        )
        yield ("load", "spawn_rate"), message
    if load.client_timeout <= pool.timeout:
        message = (
            f"customers give up after {load.client_timeout:g} s, before the pool's time-out of "
            f"{pool.timeout:g} s: no QueuePool error would ever be seen; raise client_timeout"
        )
        yield ("load", "client_timeout"), message


def _customers(load: Load) -> Iterator[Problem]:
    if load.users is None and load.arrivals is None:
        what = "is missing: write `users: 100`, or `arrivals: 40/s` for customers who arrive and leave again"
        yield ("load", "users"), what
    if load.arrivals is None:
        return
    if load.users is not None:
        what = (
            f"stands beside `users: {load.users}`: customers either stay (users) or come and leave (arrivals)"
        )
        yield ("load", "arrivals"), f"{what}; remove one of the two"
    for number, point in enumerate(load.arrivals):
        if point.at_s > load.duration:
            what = f"{point.at_s:g} s is not within the load of {load.duration:g} s"
            yield ("load", "arrivals", number), what
    processes = max(1, load.workers)
    most_per_s = MOST_PER_S * processes
    if (highest := peak(load.arrivals)) > most_per_s:
        counted = "1 process of Locust starts" if processes == 1 else f"{processes} processes of Locust start"
        what = f"{highest:,g} customers a second are beyond this load generator: {counted} at most"
        yield ("load", "arrivals"), f"{what} {most_per_s:,.0f}; write a lower rate, or more `workers`"
    measured = expected(load.arrivals, load.duration, min(load.warm_up, load.duration))
    if measured < 1 and load.warm_up < load.duration:
        what = (
            f"only {measured:.2g} customers would arrive in the {load.duration - load.warm_up:g} s measured"
        )
        yield ("load", "arrivals"), f"{what}; raise the rate or the duration"


def _expectation(scenario: Scenario) -> Iterator[Problem]:
    if scenario.release not in scenario.target.releases:
        known = ", ".join(scenario.target.releases)
        yield ("release",), f"unknown release {scenario.release!r}; known: {known}"
    if scenario.expect == "healthy" and scenario.cause not in (None, "none"):
        yield ("cause",), f"`expect: healthy` contradicts `cause: {scenario.cause}`"
    if scenario.expect != "healthy" and scenario.judge == "http":
        yield ("judge",), f"`judge: http` cannot name a cause; `expect: {scenario.expect}` needs `judge: all`"
    if scenario.expect == "healthy" and not scenario.thresholds:
        yield ("thresholds",), "`expect: healthy` without thresholds would pass whatever happens"
    if scenario.expect_capacity is not None and scenario.expect != "healthy":
        what = f"`expect: {scenario.expect}` contradicts a capacity: what gives way from the start has none"
        yield ("expect_capacity",), what
    elif scenario.expect_capacity is not None and not scenario.thresholds:
        yield ("expect_capacity",), "without thresholds nothing says when the service gives way"
    if scenario.expect == "degraded" and not scenario.thresholds:
        yield (
            ("thresholds",),
            "`expect: degraded` without thresholds: nothing says what a degraded service is",
        )


def _faults(scenario: Scenario) -> Iterator[Problem]:
    states: dict[str, str] = {}
    last_s = 0.0
    for number, fault in enumerate(scenario.faults):
        where = ("faults", number)
        if fault.at >= scenario.load.duration:
            yield (*where, "at"), f"{fault.at:g} s is not within the load of {scenario.load.duration:g} s"
        if fault.at < last_s:
            yield (*where, "at"), f"{fault.at:g} s stands after {last_s:g} s; write faults in order of time"
        last_s = max(last_s, fault.at)
        if fault.do == "lock" and (fault.server != "primary" or not fault.table.isidentifier()):
            yield (
                (*where, "do"),
                "lock takes a `table:` of the primary; the replica follows, since the lock is replayed there",
            )
        state = states.get(fault.server, "up")
        if fault.do not in _STATES[state]:
            allowed = " or ".join(_STATES[state])
            yield (
                (*where, "do"),
                f"{fault.do} contradicts what came before: the {fault.server} is {state} ({allowed})",
            )
        else:
            states[fault.server] = _STATES[state][fault.do]


def besides_arrivals(written: Mapping[str, Any], arrivals: object) -> Iterator[Problem]:
    """Yield the keys that are written in a `load:` and have no effect beside `arrivals:`, if it has these."""
    if arrivals is None:
        return
    for key, instead in _OF_USERS.items():
        if key in written:
            yield ("load", key), f"has no effect beside `arrivals:`; {instead}"


def without_other_customers(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a `load:` inherits: its own `arrivals:` replaces inherited `users:`, and the reverse."""
    dropped: set[str] = set()
    if above.get("arrivals") is not None:
        dropped = {"users", *_OF_USERS}
    elif above.get("users") is not None:
        dropped = {"arrivals"}
    return {key: value for key, value in base.items() if key not in dropped}


def _files(scenario: Scenario) -> Iterator[Problem]:
    root = Path(scenario.target.root)
    for where, name in (
        (("load", "locustfile"), scenario.load.locustfile),
        (("target", "schema"), scenario.target.schema),
    ):
        if name and not (root / name).is_file():
            yield where, f"no such file: {name} (looked in {root})"
