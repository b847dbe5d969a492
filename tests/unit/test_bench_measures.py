"""What benchmarks make of what they measured, from hand-written measurements. Nothing is measured."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from benchmarks import loads
from benchmarks.generator import LEAST_PRESENT, Lateness, against_stock, bounds, read
from benchmarks.generator import Measured as GeneratorRun
from benchmarks.live_checkouts import rate_of
from benchmarks.loads import page_scenario, refuse_failures, run_loads
from benchmarks.machine import machine_use
from benchmarks.master import CPU_BOUND, FILLED_S, GROWTH_BOUND_MB, LEAST_S, Measured, cpu_row, memory_row
from benchmarks.seeding import Filled, copy_row
from benchmarks.table import Row
from benchmarks.throughput import port_in
from benchmarks.workers import BESIDE, HALF, ONE, TWO, Round, Way, round_of, rows
from rushhour.errors import StackError
from rushhour.rundir import FactWriter, History, RunDir
from rushhour.rundir import facts as f
from rushhour.scenario.model import Load, Scenario
from tests.unit.histories import LIST, Story


def load(workers: Sequence[str], *, sent: int = 1000, cores: float = 0.1, late_s: float = 0.0) -> History:
    """A load of seven seconds, whose workers send as much each."""
    story = Story(duration_s=7)
    story.requests(LIST, 1, 5.0)
    history = story.history()
    events = [dataclasses.replace(event, t_s=event.t_s + late_s) for event in history.events]
    samples = [
        f.GeneratorSample(int(late_s) + second, worker, 60, sent, 0, 1.0, 2.0, cores)
        for second in range(2, 9)
        for worker in workers
    ]
    return dataclasses.replace(history, generator=tuple(samples), events=tuple(events))


def test_a_round_counts_the_middle_of_all_its_workers() -> None:
    two = round_of([load(["worker-0", "worker-1"])], 2)
    assert (two.us, two.rate) == pytest.approx((100.0, 1000))
    beside = round_of([load(["worker-0"]), load(["worker-0"], sent=500, cores=0.2, late_s=1.0)], 1)
    assert (beside.us, beside.rate) == pytest.approx((200.0, 750))


def test_a_round_says_nothing_where_a_worker_is_not_heard() -> None:
    with pytest.raises(RuntimeError, match="1 workers of the round recorded nothing"):
        round_of([load(["worker-0"])], 2)
    with pytest.raises(RuntimeError, match="1 workers of the round recorded nothing"):
        round_of([load(["worker-0"]), load([])], 1)
    with pytest.raises(RuntimeError, match="no request was sent"):
        round_of([load(["worker-0"], sent=0)], 1)


def test_a_second_in_which_a_worker_did_not_report_counts_with_the_next_one() -> None:
    """A sample is of the time since the one before: 2,000 requests in two seconds, with 0.1 cores in both."""
    whole = load(["worker-0"])
    late = [
        dataclasses.replace(sample, started=2000) if sample.t_s == 5 else sample
        for sample in whole.generator
        if sample.t_s != 4
    ]
    found = round_of([dataclasses.replace(whole, generator=tuple(late))], 1)
    assert (found.us, found.rate) == pytest.approx((100.0, 1000))


def test_requests_that_fail_are_no_load() -> None:
    story = Story(duration_s=7)
    story.requests(LIST, 100, 5.0)
    refuse_failures(story.history())
    story.requests(LIST, 2, 5.0, f.Outcome.CONNECT_ERROR)
    with pytest.raises(RuntimeError, match="14 of 714 requests"):
        refuse_failures(story.history())
    with pytest.raises(RuntimeError, match="0 of 0 requests"):
        refuse_failures(dataclasses.replace(story.history(), requests=()))


class Started:
    """A load that has run as soon as it is started."""

    def __init__(self, fails: bool) -> None:
        self.fails, self.stopped = fails, False

    def wait(self, timeout_s: float) -> None:
        assert timeout_s > 7

    def check(self) -> None:
        if self.fails:
            raise StackError("Locust ended with exit code 3")

    def stop(self, grace_s: float) -> None:
        assert grace_s > 0
        self.stopped = True


@pytest.mark.parametrize("fails", [False, True])
def test_loads_run_beside_each_other_and_all_are_stopped(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Started] = []

    def start(_guard: object, given: Scenario, _url: str, run: RunDir, _anchor_s: float) -> Started:
        run.path.mkdir()
        history = load(["worker-0"], sent=given.load.seed)
        writer = FactWriter(run)
        writer.write([*history.events, *history.requests, *history.generator])
        writer.close()
        started.append(Started(fails))
        return started[-1]

    monkeypatch.setattr(loads, "start_load", start)
    scenarios = [page_scenario("workers", Load(users=60, duration=7.0, seed=seed)) for seed in (1, 2)]
    if fails:
        with pytest.raises(StackError, match="exit code 3"):
            run_loads("http://127.0.0.1:9", scenarios)
    else:
        found = run_loads("http://127.0.0.1:9", scenarios)
        assert [history.generator[0].started for history in found] == [1, 2]
    assert [each.stopped for each in started] == [True, True]


def costs(per_request: float, fixed: float, machine: float, shared: float) -> dict[Way, Round]:
    """A turn in which two loads cost `machine` times one, and one master for both `shared` times as much."""

    def made(rate: float, factor: float) -> Round:
        return Round(factor * (per_request + fixed / rate), rate, 2.0)

    return {
        ONE: made(2000, 1.0),
        HALF: made(1000, 1.0),
        BESIDE: made(2000, machine),
        TWO: made(2000, machine * shared),
    }


@pytest.mark.parametrize(
    ("machine", "shared", "met"),
    [(1.0, 1.0, True), (1.08, 1.0, True), (1.0, 1.08, False), (0.95, 1.08, False)],
)
def test_a_second_worker_is_blamed_for_what_two_loads_do_not_have(
    machine: float, shared: float, met: bool
) -> None:
    turn = costs(100, 10_000, machine, shared)
    found = rows([turn, {way: turn[way] for way in (TWO, BESIDE)}] * 9, 2)
    assert found[0].ok is met
    assert f"x {machine:.3f}" in found[1].measured
    assert f"x {machine * shared:.3f}" in found[2].measured
    assert found[3].measured.startswith("10.0 (95 % interval 10.0 to 10.0) ms a second")
    assert "100 us a request" in found[3].measured


def test_turns_that_differ_leave_the_second_worker_open() -> None:
    turns = [costs(100, 10_000, 1.0, 1.0 + 0.02 * number) for number in range(9)]
    assert rows(turns, 2)[0].unsure


def test_a_sampler_that_falls_silent_has_no_full_rate() -> None:
    steady = [0.03 + 0.1 * number for number in range(50)]
    assert rate_of(steady, 5.0) == pytest.approx(10)
    assert rate_of(steady[:25], 5.0) == pytest.approx(24 / 4.9)
    assert rate_of(steady[25:], 5.0) == pytest.approx(24 / 4.9)
    assert rate_of([*steady[:10], *steady[40:]], 5.0) < 5
    assert rate_of([], 5.0) == 0.0


def filled(seconds: float, busy: float = 0.95, others: float = 0.0) -> Filled:
    return Filled(seconds, 700.0, busy, others)


@pytest.mark.parametrize(
    ("seconds", "busy", "others", "met"),
    [
        (1.2, 0.5, 0.0, True),
        (1.5, 0.95, 0.02, True),
        (1.5, 0.95, 0.4, None),  # the cores are busy, but with something else
        (1.5, 0.6, 0.0, False),
        (1.5, 0.6, 0.3, False),
    ],
)
def test_cores_that_others_keep_busy_excuse_no_slow_seeding(
    seconds: float, busy: float, others: float, met: bool | None
) -> None:
    row = copy_row("seeding", [filled(seconds, busy, others)] * 6, [filled(1.0)] * 6)
    assert (row.ok, row.unsure) == (met, met is None)


def test_a_master_whose_workers_sent_little_is_not_said_to_carry_them() -> None:
    def row(cores: float, sent: float) -> Row:
        found = Measured(cores, [(0.0, 100.0)], 10, 0, 10, 10, 0.1, 5.0, 0, 6.6, 4.0)
        return cpu_row("master", found, sent)

    assert row(CPU_BOUND, 1.0).ok is True
    assert row(CPU_BOUND, 0.8).missing
    assert row(2 * CPU_BOUND, 0.8).ok is False


@pytest.mark.parametrize(("grown_mb", "met"), [(0.5, True), (2.0, False)])
def test_a_masters_memory_is_measured_once_its_queues_are_full(grown_mb: float, met: bool) -> None:
    per_second = grown_mb * GROWTH_BOUND_MB / 600
    memory = [(float(at), 100.0 + min(at, FILLED_S) + per_second * at) for at in range(910)]
    assert memory_row("memory", memory).ok is met
    assert memory_row("memory", memory[: int(FILLED_S + LEAST_S)]).missing
    assert memory_row("memory", memory[:60]).missing


def watched(customers: int = 10_000, requests: int = 1000, failed: int = 0) -> dict[str, object]:
    """A rush hour of a hundred seconds, as benchmarks/subjects/watched_customers.py writes it."""
    seconds = [
        (float(at), 0.2 * at, 10**8 + 20_000 * customers, customers if at > 30 else customers * at // 30, 0)
        for at in range(100)
    ]
    seconds = [(*row[:4], requests * int(row[0])) for row in seconds]
    late_ms = [(at / 2, 5.0) for at in range(200)]
    return {"idle_rss": 10**8, "late_ms": late_ms, "seconds": seconds, "failed": failed}


def test_a_generator_is_held_to_the_customers_who_were_there() -> None:
    full, fewer = read(watched(), 100.0), read(watched(int(LEAST_PRESENT * 10_000) - 1), 100.0)
    assert (full.customers, full.us_a_request) == pytest.approx((10_000, 200.0))
    kept, *_ = bounds(full, full)
    missing, *_ = bounds(fewer, full)
    assert (kept.ok, missing.ok) == (True, False)
    assert "9,899 customers" in missing.measured


def test_what_other_programs_do_to_stock_locust_is_no_merit_of_the_plugin() -> None:
    def with_lateness(ms: float, others: float = 0.0) -> GeneratorRun:
        made = read(watched(), 100.0)
        late = Lateness(ms, ms, ms)
        return dataclasses.replace(made, spawning=late, push=late, others=others)

    *_, alone = bounds(with_lateness(1.0), with_lateness(100.0))
    *_, disturbed = bounds(with_lateness(1.0), with_lateness(100.0, others=0.2))
    *_, late = bounds(with_lateness(50.0), with_lateness(100.0, others=0.2))
    assert [(row.ok, row.unsure) for row in (alone, disturbed, late)] == [
        (True, False),
        (None, True),
        (False, False),
    ]


@pytest.mark.parametrize(
    ("cores", "met"), [((0.1,) * 6, True), ((0.3,) * 6, False), ((0.1, 0.1, 0.1, 0.3, 0.3, 0.3), None)]
)
def test_a_core_carries_more_customers_only_if_it_did_in_all_pairs(
    cores: tuple[float, ...], met: bool | None
) -> None:
    made = dataclasses.replace(read(watched(), 100.0), cores=0.4)
    row = against_stock([(dataclasses.replace(made, cores=each), made) for each in cores])
    assert (row.ok, row.unsure) == (met, met is None)


def test_what_a_machine_uses_is_shared_out_between_a_program_and_others() -> None:
    """A program that this process starts, and that has ended, is its own."""
    with machine_use() as use:
        subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
    own_s = (use.busy - use.others) * use.seconds * (os.cpu_count() or 1)
    assert own_s > 0.05


@pytest.mark.parametrize("broken", [lambda: watched(failed=5000), lambda: watched(requests=0)])
def test_a_generator_whose_requests_fail_is_not_measured(broken: Callable[[], dict[str, object]]) -> None:
    with pytest.raises(RuntimeError, match="requests to the page failed"):
        read(broken(), 100.0)


def test_gunicorn_listens_once_its_worker_has_booted() -> None:
    listening = "[INFO] Listening at: http://127.0.0.1:40123 (77)\n"
    assert port_in("") is None
    assert port_in(listening) is None
    assert port_in(f"{listening}[INFO] Booting worker with pid: 78\n") == 40123
