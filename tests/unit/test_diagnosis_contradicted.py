"""One contradicting witness in a history of each cause: nothing is certain, and no wrong cause is named."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from rushhour.diagnosis import Diagnosis, diagnose
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories as h
from tests.unit import test_diagnosis_witnesses as w
from tests.unit import zoo_histories as zoo
from tests.unit.test_diagnosis_standing import streaming

Change = Callable[[History], History]
S0 = h.STARTED_S


def diagnosed(history: History) -> Diagnosis:
    whole = (history.time_of(f.LOAD_ENDED) or 0.0) > S0 + zoo.LOAD_S
    load = {"users": 800, "duration": 75.0, "warm_up": 0.0} if whole else zoo.LOAD
    return diagnose(history, measure(h.scenario(load=load), history))


def checkouts(**changes: Any) -> Change:
    """Each check-out is so instead; a function gets the check-out."""

    def changed(one: f.CheckOut) -> f.CheckOut:
        new = {name: value(one) if callable(value) else value for name, value in changes.items()}
        return dataclasses.replace(one, **new)

    return lambda history: dataclasses.replace(history, checkouts=tuple(map(changed, history.checkouts)))


def pools(**changes: Callable[[f.PoolSample], int]) -> Change:
    """Each sample of the replica's pool is so instead."""

    def changed(one: f.PoolSample) -> f.PoolSample:
        new: dict[str, Any] = {name: value(one) for name, value in changes.items()}
        return dataclasses.replace(one, **new) if one.pool == "replica" else one

    return lambda history: dataclasses.replace(history, pools=tuple(map(changed, history.pools)))


def server(seconds: Iterable[int] = range(100), **changes: Any) -> Change:
    """Each sample of the replica in these seconds is so instead."""
    within = frozenset(seconds)

    def changed(one: f.ServerSample) -> f.ServerSample:
        is_there = one.server == "replica" and int(one.t_s - S0) in within
        return dataclasses.replace(one, **changes) if is_there else one

    return lambda history: dataclasses.replace(history, servers=tuple(map(changed, history.servers)))


def late(**changes: Any) -> Change:
    return lambda history: dataclasses.replace(
        history, pool_timeouts=tuple(dataclasses.replace(one, **changes) for one in history.pool_timeouts)
    )


def cpu(component: str, cores: float, limit_cores: float | None = None) -> Change:
    def changed(history: History) -> History:
        rest = tuple(one for one in history.host if one.component != component)
        used = (f.HostSample(S0 + second, component, cores, 80.0, 3, limit_cores) for second in range(75))
        return dataclasses.replace(history, host=(*rest, *used))

    return changed


def looks(**counts: int) -> Change:
    return lambda history: w.looks(history, **counts)


def also_looks(**counts: Any) -> Change:
    return lambda history: dataclasses.replace(
        history, doing=tuple(dataclasses.replace(one, **counts) for one in history.doing)
    )


def logged(kind: str, errors: int = 30) -> Change:
    def changed(history: History) -> History:
        detail = {"source": "service", "queuepool_timeouts": 0, "errors": 1, "kinds": {kind: 1}}
        new = (f.Event(S0 + 8 + number / 10, f.LOG_ERRORS, detail) for number in range(errors))
        return dataclasses.replace(history, events=(*history.events, *new))

    return changed


def every_third_second(history: History) -> History:
    """The agent's thread ran in no other second."""
    return dataclasses.replace(history, pools=tuple(one for one in history.pools if int(one.t_s) % 3 == 0))


def blocked_at_many_lines(history: History) -> History:
    loops = tuple(
        f.LoopSample(
            *(S0 + second, h.PID, 10, 8, dataclasses.replace(zoo.WAIT_SITE, line=second % 7)),
            driver=0,
            waits=8,
            at_site=2,
        )
        for second in range(75)
    )
    return dataclasses.replace(history, loops=loops)


def silent_agent(history: History) -> History:
    return dataclasses.replace(history, pools=tuple(one for one in history.pools if one.t_s < S0 + 60))


def computes(history: History) -> History:
    """Those elsewhere run Python code, and nobody knows with how much CPU."""
    doing = tuple(
        dataclasses.replace(one, places=(f.Place("computes", h.SITE, zoo.WAIT_SITE, one.elsewhere),))
        for one in history.doing
    )
    return dataclasses.replace(history, doing=doing)


def without_servers(history: History) -> History:
    return dataclasses.replace(history, servers=())


def without_answers(history: History) -> History:
    """Nobody was answered from a connection that a thread kept."""
    kept = tuple(one for one in history.requests if one.endpoint != h.LIST or one.outcome != f.Outcome.OK)
    return dataclasses.replace(history, requests=kept)


def taken_by_each_request(history: History) -> History:
    sites = tuple(
        dataclasses.replace(one, checkouts=2250) if one.pool == "replica" else one for one in history.sites
    )
    return dataclasses.replace(history, sites=sites)


def left_out(history: History) -> History:
    made = h.Story()
    for number in range(8):
        made.checkout(number, 40.0, f"t{number}", request_ended_s=None)
    return dataclasses.replace(history, checkouts=tuple(made.facts["checkouts"]))


def fewer_out(sample: f.PoolSample) -> int:
    return min(sample.checked_out, 9)


def a_third(sample: f.PoolSample) -> int:
    return sample.checked_out // 3


SILENT: dict[str, Any] = {"error": "no answer", "backends": ()}
LEAKS = ("scope-never-removed", "unclosed-path")
HELD = "held-across-external-wait"
SLOW = "slow-or-dead-backend"
ROWS: tuple[tuple[str, Callable[[], History], str, Change, tuple[str, ...]], ...] = (
    ("scope", h.incident, "tasks took them", checkouts(by_task=True), LEAKS),
    ("scope", h.incident, "two of each thread", checkouts(thread=lambda one: f"t{one.id // 2}"), LEAKS),
    ("scope", h.incident, "nobody was answered", without_answers, LEAKS),
    ("scope", h.incident, "each request took its own", taken_by_each_request, LEAKS),
    ("scope", h.incident, "jobs took them", checkouts(endpoint=None, lost="owner-idle"), LEAKS),
    ("scope", h.incident, "the log: a shared session", logged("shared_session"), LEAKS),
    ("scope", h.incident, "the pool counts few", pools(checked_out=fewer_out), LEAKS),
    ("scope", h.incident, "one thread took all", checkouts(thread="t"), LEAKS),
    ("scope", h.incident, "closed at the end", checkouts(returned_s=S0 + 75, returned_by="close"), ("none",)),
    ("scope", h.incident, "requests went on", checkouts(request_ended_s=None), ("none",)),
    ("unclosed", h.unclosed, "the pool counts few", pools(checked_out=fewer_out), LEAKS),
    ("unclosed", h.unclosed, "one per thread", checkouts(thread=lambda one: f"t{one.id}"), LEAKS),
    ("unclosed", h.unclosed, "the log: a shared session", logged("shared_session"), LEAKS),
    ("unclosed", h.unclosed, "requests went on", checkouts(request_ended_s=None), ("none",)),
    ("saturated", h.saturated, "in the queue", looks(queue=60), ("saturation",)),
    ("saturated", h.saturated, "elsewhere", looks(elsewhere=60), ("saturation",)),
    ("saturated", h.saturated, "streaming", looks(streaming=60), ("saturation",)),
    ("saturated", h.saturated, "idle backends", server(states={"active": 3, "idle": 27}), ("saturation",)),
    ("saturated", h.saturated, "being opened", pools(live=a_third), ("saturation", SLOW)),
    ("saturated", h.saturated, "a blocked loop", blocked_at_many_lines, ("saturation",)),
    ("saturated", h.saturated, "seldom ran", every_third_second, ("saturation",)),
    ("saturated", h.saturated, "a silent agent", silent_agent, ("saturation",)),
    ("saturated", h.saturated, "holders timed out", late(holding=1), ("saturation", "nested-checkout")),
    ("saturated", h.saturated, "left out", left_out, ("saturation",)),
    ("saturated", h.saturated, "no server", without_servers, ("saturation",)),
    ("saturated", h.saturated, "a silent server", server(range(30, 45), **SILENT), (SLOW,)),
    ("external", zoo.external, "half in the queue", looks(elsewhere=30, queue=30), (HELD,)),
    ("external", zoo.external, "holders timed out", late(holding=1), (HELD, "nested-checkout")),
    ("external", zoo.external, "unseen", also_looks(unseen=60), (HELD,)),
    ("external", zoo.external, "seldom ran", every_third_second, (HELD,)),
    ("external", zoo.external, "no CPU to spare", cpu("service", 1.0), (HELD,)),
    ("external", zoo.external, "computes, nobody knows with what", computes, (HELD,)),
    ("external", zoo.external, "a blocked loop", blocked_at_many_lines, (HELD,)),
    ("external", zoo.external, "no server", without_servers, (HELD,)),
    ("external", zoo.external, "other pids", checkouts(server_pid=lambda one: one.id + 70_000), (HELD,)),
    ("external", zoo.external, "late answers", looks(driver=40, elsewhere=20), (HELD,)),
    ("nested", zoo.nested, "holders held nothing", late(holding=0), ("saturation", "none")),
    ("nested", zoo.nested, "elsewhere", looks(elsewhere=60), (HELD, "nested-checkout")),
    ("nested", zoo.nested, "unseen", also_looks(unseen=60), ("nested-checkout",)),
    ("nested", zoo.nested, "being opened", pools(live=a_third), (SLOW, "nested-checkout")),
    ("streaming", streaming, "in the driver", looks(driver=60), ("saturation",)),
    ("streaming", streaming, "seldom ran", every_third_second, ("held-while-streaming",)),
    ("streaming", streaming, "holders timed out", late(holding=1), ("held-while-streaming",)),
    ("stream", zoo.stream, "a blocked loop", blocked_at_many_lines, ("abandoned-stream",)),
    ("stream", zoo.stream, "seldom ran", every_third_second, ("abandoned-stream",)),
    ("stream", zoo.stream, "holders timed out", late(holding=1), ("abandoned-stream",)),
    ("dead", h.dead_backend, "no CPU", cpu(f.MACHINE, 1.98, 2.0), (SLOW,)),
    ("dead", h.dead_backend, "seldom ran", every_third_second, (SLOW,)),
    ("dead", h.dead_backend, "elsewhere", looks(elsewhere=60), (SLOW, HELD)),
    ("dead", h.dead_backend, "it answered", w.answered, (SLOW,)),
    ("hot row", zoo.hot_row, "elsewhere", looks(elsewhere=60), ("own-lock-chain",)),
    ("hot row", zoo.hot_row, "unknown pids", checkouts(server_pid=None), ("own-lock-chain", SLOW)),
    ("hot row", zoo.hot_row, "back early", checkouts(returned_s=S0 + 3), ("own-lock-chain",)),
    ("healthy", h.healthy, "counted as leaked", pools(leaked=lambda _: 3), ("none",)),
    (
        "healthy",
        h.healthy,
        "out at the end",
        pools(checked_out=lambda one: max(3, one.checked_out)),
        ("none",),
    ),
    ("healthy", h.healthy, "the log: lost", logged("backend_lost"), ("none",)),
    ("healthy", h.healthy, "the log: garbled", logged("shared_connection"), ("none", "fork-shared")),
    ("healthy", h.healthy, "a silent agent", silent_agent, ("none",)),
)


@pytest.mark.parametrize(
    ("told", "change", "may_be"),
    [(row[1], row[3], row[4]) for row in ROWS],
    ids=[f"{row[0]}: {row[2]}" for row in ROWS],
)
def test_a_contradicted_history_is_not_certain_and_gets_no_wrong_name(
    told: Callable[[], History], change: Change, may_be: tuple[str, ...]
) -> None:
    assert diagnosed(told()).confidence == "certain"
    found = diagnosed(change(told()))
    assert found.confidence != "certain"
    assert found.cause in may_be


def test_a_consumer_whose_connection_is_known_is_no_sign_that_one_did_not_come_back() -> None:
    found = diagnosed(h.listening(h.healthy(), "replica", 2))
    assert (found.cause, found.confidence) == ("none", "certain")
