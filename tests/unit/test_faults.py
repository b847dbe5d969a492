"""Faults of a scenario: what a file may ask for, when they are applied, and what reports say of them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushhour.diagnosis import diagnose
from rushhour.errors import StackError, UsageError
from rushhour.metrics.measure import measure
from rushhour.report.moments import moments
from rushhour.rundir import Recorder, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario import model
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import ServerFault
from rushhour.stack import Fault, Running
from rushhour.stack.fault_plan import FaultPlan
from rushhour.verdict.judge import judge
from tests.unit import histories

FILE = """\
service:
  name: shop
  command: "{python} -m shop {port}"
  health: /health
  releases: ["1.0"]
  schema: schema.sql
scenarios:
  dead-replica:
    load: { users: 20, duration: 60s, locustfile: users.py }
    expect: healthy
    thresholds: [queuepool_timeouts == 0]
    faults:
"""


def read(folder: Path, *faults: str) -> tuple[ServerFault, ...]:
    (folder / "schema.sql").touch()
    (folder / "users.py").touch()
    path = folder / "scenarios.yaml"
    path.write_text(FILE + "".join(f"      - {{ {fault} }}\n" for fault in faults))
    return load_scenarios(path).scenarios["dead-replica"].faults


def refused(folder: Path, *faults: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read(folder, *faults)
    return [problem.replace(f"{folder}/scenarios.yaml:", "") for problem in caught.value.problems]


def test_faults_are_read_with_their_units(tmp_path: Path) -> None:
    assert read(
        tmp_path, "at: 20s, server: replica, do: pause", "at: 0.5m, server: replica, do: unpause"
    ) == (ServerFault(20.0, "replica", "pause"), ServerFault(30.0, "replica", "unpause"))


def test_every_mistake_is_reported_with_its_line(tmp_path: Path) -> None:
    where = "scenarios.dead-replica.faults"
    assert refused(tmp_path, "at: 20, server: standby, do: freeze") == [
        f"13: {where}.0.at: 20 is not a duration; write a number with a unit: 500ms, 30s, 2m, 1h",
        f"13: {where}.0.server: unknown server 'standby'; known: primary, replica",
        f"13: {where}.0.do: unknown fault 'freeze'; known: {', '.join(model.FAULTS)}",
    ]


UP = "pause or stop or kill or black-hole or lock"


def test_a_lock_takes_a_table_of_the_primary(tmp_path: Path) -> None:
    where = "scenarios.dead-replica.faults"
    what = "lock takes a `table:` of the primary; the replica follows, since the lock is replayed there"
    assert refused(
        tmp_path,
        "at: 5s, server: replica, do: lock, table: payouts",
        "at: 6s, server: primary, do: lock",
        "at: 7s, server: primary, do: restore",
    ) == [
        f"13: {where}.0.do: {what}",
        f"14: {where}.1.do: {what}",
        f"15: {where}.2.do: restore contradicts what came before: the primary is locked (unlock)",
    ]


def test_contradictions_are_reported_with_their_line(tmp_path: Path) -> None:
    where = "scenarios.dead-replica.faults"
    assert refused(
        tmp_path,
        "at: 5s, server: replica, do: unpause",
        "at: 20s, server: primary, do: pause",
        "at: 10s, server: primary, do: stop",
        "at: 60s, server: primary, do: unpause",
        "at: 60s, server: replica, do: start",
    ) == [
        f"13: {where}.0.do: unpause contradicts what came before: the replica is up ({UP})",
        f"15: {where}.2.at: 10 s stands after 20 s; write faults in order of time",
        f"15: {where}.2.do: stop contradicts what came before: the primary is paused (unpause or kill)",
        f"16: {where}.3.at: 60 s is not within the load of 60 s",
        f"17: {where}.4.at: 60 s is not within the load of 60 s",
        f"17: {where}.4.do: start contradicts what came before: the replica is up ({UP})",
    ]


class Servers:
    """A stack whose servers take faults, as far as a plan sees one."""

    service_url = "http://127.0.0.1:1"
    servers = ()
    meters: dict[str, object] = {}  # noqa: RUF012 - as the protocol has it
    limits: dict[str, str] = {}  # noqa: RUF012 - as above

    def __init__(self, fault: Exception | None = None) -> None:
        self.done: list[tuple[str, str]] = []
        self._fault = fault

    def check_alive(self) -> None:
        """All is well."""

    def fault(self, server: str, what: Fault, table: str = "") -> None:
        if self._fault is not None:
            raise self._fault
        self.done.append((server, f"{what} {table}".strip()))


class Untouchable:
    """A stack whose servers take no faults."""

    service_url = "http://127.0.0.1:1"
    servers = ()
    meters: dict[str, object] = {}  # noqa: RUF012 - as the protocol has it
    limits: dict[str, str] = {}  # noqa: RUF012 - as above

    def check_alive(self) -> None:
        """All is well."""


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    (tmp_path / "run").mkdir()
    recorder = Recorder(RunDir(tmp_path / "run"))
    yield recorder
    recorder.close()


FAULTS = (ServerFault(20.0, "replica", "pause"), ServerFault(32.0, "replica", "unpause"))


def test_each_fault_is_applied_once_when_it_is_due(recorder: Recorder) -> None:
    servers = Servers()
    running: Running = servers  # type: ignore[assignment]  # its meters are of no interest here
    plan = FaultPlan(FAULTS, running, recorder)
    seen = []
    for elapsed_s in (0.0, 19.9, 20.0, 20.2, 31.0, 33.0, 60.0):
        plan.apply_due(elapsed_s)
        seen.append(len(servers.done))
    assert seen == [0, 0, 1, 1, 1, 2, 2]
    assert servers.done == [("replica", "pause"), ("replica", "unpause")]
    recorder.close()
    events = [event for event in load_history(recorder.run).events if event.name == f.FAULT]
    assert [(event.detail["server"], event.detail["do"]) for event in events] == servers.done


def test_a_fault_that_fails_breaks_the_run(recorder: Recorder) -> None:
    running: Running = Servers(StackError("the engine is gone"))  # type: ignore[assignment]  # as above
    with pytest.raises(StackError, match="the engine is gone"):
        FaultPlan(FAULTS, running, recorder).apply_due(21.0)


def test_a_stack_without_faults_refuses_them_at_once(recorder: Recorder) -> None:
    running: Running = Untouchable()  # type: ignore[assignment]  # as above
    FaultPlan((), running, recorder).apply_due(100.0)
    with pytest.raises(StackError, match="does pause to the replica"):
        FaultPlan(FAULTS, running, recorder)


def paused() -> tuple[f.Event, ...]:
    return (
        f.Event(histories.STARTED_S + 40, f.FAULT, {"server": "replica", "do": "pause", "took_s": 0.0}),
        f.Event(histories.STARTED_S + 73, f.FAULT, {"server": "replica", "do": "unpause", "took_s": 0.0}),
    )


def test_reports_mark_each_fault() -> None:
    history = histories.dead_backend()
    history = dataclasses.replace(history, events=(*history.events, *paused()))
    marked = [(moment.t_s, moment.label) for moment in moments(history, histories.STARTED_S)]
    assert (40.0, "replica paused") in marked
    assert (73.0, "replica goes on") in marked


def test_the_diagnosis_says_that_it_was_on_purpose() -> None:
    scenario = histories.scenario(release="1.1.1")
    history = histories.dead_backend()
    history = dataclasses.replace(history, events=(*history.events, *paused()))
    diagnosis = diagnose(history, measure(scenario, history))
    assert diagnosis.cause == "slow-or-dead-backend"
    assert "the scenario's own faults: pause of the replica at 40.0 s, unpause of the replica at 73.0 s" in (
        diagnosis.amplifiers
    )


def test_a_run_whose_faults_never_came_says_nothing() -> None:
    faults = [{"at": 20.0, "server": "replica", "do": "pause"}]
    verdict = judge(histories.scenario(release="1.1.1", faults=faults), histories.healthy(), "embedded")
    assert verdict.verdict == "unknown"
    assert verdict.reasons[0] == (
        "the load ended before its faults were over: pause of the replica, due 20 s into the load, "
        "was never done"
    )
