"""Finds values of a scenario that are valid by themselves but contradict each other (pure)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rushhour.scenario.compose_rules import compose_problems
from rushhour.scenario.model import Scenario
from rushhour.scenario.target_rules import target_problems

# The faults that are possible in each state of a server, and the state that follows.
_STATES: Final[dict[str, dict[str, str]]] = {
    "up": {"pause": "paused", "stop": "down", "kill": "down", "black-hole": "cut off", "lock": "locked"},
    "paused": {"unpause": "up", "kill": "down"},
    "down": {"start": "up"},
    "cut off": {"restore": "up"},
    "locked": {"unlock": "up"},
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
    if load.users / load.spawn_rate > load.duration:
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


def _files(scenario: Scenario) -> Iterator[Problem]:
    root = Path(scenario.target.root)
    for where, name in (
        (("load", "locustfile"), scenario.load.locustfile),
        (("target", "schema"), scenario.target.schema),
    ):
        if name and not (root / name).is_file():
            yield where, f"no such file: {name} (looked in {root})"
