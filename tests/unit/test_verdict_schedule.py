"""A burst alone never voids a run that kept its schedule; a generator that fell behind always does."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from rushhour.rundir import History
from rushhour.verdict.judge import judge
from rushhour.verdict.schedule import unexplained
from tests.unit import histories as h

DUE = 400  # requests in an ordinary second, which take the core 0.1 s
COST_S = 0.1 / DUE
Late = Callable[[int], dict[str, Any]]


def generated(changes: Late) -> History:
    """A healthy run of 800 customers; `changes` are those of each second's sample."""
    healthy = h.healthy()
    ordinary: dict[str, Any] = {"due": DUE, "started": DUE, "cpu_cores": DUE * COST_S}
    return dataclasses.replace(
        healthy,
        generator=tuple(
            dataclasses.replace(sample, **(ordinary | changes(int(sample.t_s - h.STARTED_S))))
            for sample in healthy.generator
        ),
    )


def burst(at_s: int, due: int, late_ms: float, sent: tuple[int, ...], **more: Any) -> Late:
    """A second in which `due` requests are due, and the seconds in which they are sent, late."""

    def changes(t_s: int) -> dict[str, Any]:
        if not 0 <= t_s - at_s < len(sent):
            return {}
        count = sent[t_s - at_s]
        return {
            "due": due if t_s == at_s else DUE,
            "started": count,
            "cpu_cores": count * COST_S,
            "lateness_p99_ms": late_ms,
            "lateness_max_ms": late_ms,
        } | more

    return changes


def many(*bursts: Late) -> Late:
    return lambda t_s: {key: value for each in bursts for key, value in each(t_s).items()}


KEPT: dict[str, Late] = {
    "no burst": lambda t_s: {},
    "one push": burst(40, 4_000, 700, (3_200, 1_200)),
    # One second in ten is one of a burst: more than the percentile over seconds passes over.
    "a push every ten seconds": many(
        *(burst(at_s, 4_000, 700, (3_200, 1_200)) for at_s in range(12, 72, 10))
    ),
    "a core that is full while it sends": many(
        *(burst(at_s, 7_000, 1_500, (3_700, 3_700), cpu_cores=0.99) for at_s in range(12, 72, 10))
    ),
}

FELL_BEHIND: dict[str, tuple[Late, str]] = {
    "late without a burst": (
        many(*(burst(at_s, DUE, 350, (DUE,)) for at_s in range(20, 40))),
        "fired 350 ms late at p99",
    ),
    "later than the bursts take": (
        many(*(burst(at_s, 4_000, 1_900, (3_200, 1_200)) for at_s in range(12, 72, 10))),
        "fell behind",
    ),
    "a long stop in a burst": (burst(40, 4_000, 3_900, (3_200, 1_200)), "stood still"),
    "a stop without a burst, made up for at once": (
        burst(40, DUE, 3_000, (0, 0, 4 * DUE)),
        "stood still for 3.0 s",
    ),
    "still late four seconds after the bursts": (
        many(*(burst(at_s, 4_000, 700, (1_300,) * 4) for at_s in range(12, 72, 10))),
        "fell behind",
    ),
    "a peak that lasts": (
        many(*(burst(at_s, 8 * DUE, 500, (3_000,)) for at_s in range(30, 60))),
        "fired 500 ms late at p99",
    ),
    "the machine's other work in a burst": (
        many(*(burst(at_s, 4_000, 1_500, (900, 900)) for at_s in range(12, 72, 5))),
        "fell behind",
    ),
}


@pytest.mark.parametrize("changes", KEPT.values(), ids=KEPT)
def test_a_burst_alone_never_voids_a_run(changes: Late) -> None:
    verdict = judge(h.scenario(), generated(changes), "embedded")
    assert verdict.verdict == "pass", verdict.reasons


@pytest.mark.parametrize(("changes", "why"), FELL_BEHIND.values(), ids=FELL_BEHIND)
def test_a_generator_that_fell_behind_makes_the_run_unknown(changes: Late, why: str) -> None:
    verdict = judge(h.scenario(), generated(changes), "embedded")
    assert verdict.verdict == "unknown"
    assert why in verdict.reasons[0]


def test_each_process_is_measured_by_its_own_schedule() -> None:
    [found] = [sample for sample in generated(lambda _: {}).generator if sample.t_s == h.STARTED_S + 40]
    calm = dataclasses.replace(found, worker="worker-0", lateness_p99_ms=700.0)
    pushed = dataclasses.replace(calm, worker="worker-1", due=4_000, started=4_000, cpu_cores=1.0)
    before = [
        dataclasses.replace(found, worker=worker, t_s=found.t_s - n)
        for worker in ("worker-0", "worker-1")
        for n in (1, 2, 3)
    ]
    late = unexplained([*before, calm, pushed])
    assert late["worker-0", found.t_s].p99_ms == 700
    assert late["worker-1", found.t_s].p99_ms == 0
