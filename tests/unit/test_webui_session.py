"""What the session of `rushhour ui` does with a stack after a run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from rushhour.errors import RunDataError
from rushhour.jobs.webui.asked import same_databases
from rushhour.jobs.webui.locust import WebLocust
from rushhour.jobs.webui.messages import Ask, Go, Message, View
from rushhour.jobs.webui.session import Session, _shorten
from rushhour.judging.judge import read_scenario
from rushhour.process.guard import Guard
from rushhour.process.meter import Meter
from rushhour.rundir import Recorder, RunDir, create_run_dir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.stack import Fault, Progress, Server
from tests.unit import histories as h


@dataclass
class FakeRunning:
    """A stack whose servers take faults, and whose service starts anew."""

    service_root: Path
    service_url: str = "http://127.0.0.1:9"
    servers: tuple[Server, ...] = ()
    meters: dict[str, Meter] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    postgres_version: str = "18"

    def check_alive(self) -> None:
        """It lives."""

    def fault(self, server: str, what: Fault, table: str = "") -> None:
        """Take it."""

    def serve_again(self, scenario: Scenario, run: RunDir) -> None:
        """As asked."""


class FakeStack:
    """Counts how often it came up and went down."""

    name = "embedded"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen: list[str] = []

    @contextmanager
    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> Iterator[FakeRunning]:
        self.seen.append(f"up {scenario.name}")
        yield FakeRunning(self.root)
        self.seen.append(f"down {scenario.name}")


class FakeProcess:
    """Locust's."""

    pid = os.getpid()


class FullDisk:
    """A Locust under whose load the run can no longer be written."""

    process = FakeProcess()

    def say(self, message: Message) -> None:
        if isinstance(message, Go):
            raise RunDataError("no space left on the device")
        assert isinstance(message, View), message


PLAIN = h.scenario(name="plain")
FAULTY = h.scenario(name="faulty", faults=[{"at": 1.0, "do": "pause", "server": "replica"}])


@pytest.mark.parametrize("scenario", [PLAIN, FAULTY], ids=lambda one: one.name)
def test_after_a_run_that_fails_the_next_one_has_a_new_stack(scenario: Scenario, tmp_path: Path) -> None:
    stack = FakeStack(tmp_path)
    said: list[str] = []
    folder = create_run_dir(tmp_path, "ui")
    scenarios = {"plain": PLAIN, "faulty": FAULTY}
    locust = cast("WebLocust", FullDisk())
    ask = Ask(scenario.name, scenario.release, 1, 1.0, None)
    with Guard() as guard:
        session = Session(
            stack,
            guard,
            scenarios,
            tmp_path,
            folder,
            say=said.append,
            judged=lambda run, verdict, of: None,
        )
        with session.opened(PLAIN):
            session._run(ask, locust)
            assert "no space left on the device" in said
            assert stack.seen[-1] == f"down {scenario.name}"


def test_servers_that_a_fault_may_have_left_paused_or_locked_are_not_used_again() -> None:
    assert same_databases(PLAIN, replace(PLAIN, name="another"))
    migrated = replace(PLAIN, target=replace(PLAIN.target, setup="migrate"))
    assert same_databases(migrated, replace(migrated, name="another"))
    assert not same_databases(migrated, replace(migrated, release="1.0"))
    assert not same_databases(FAULTY, PLAIN)
    assert not same_databases(PLAIN, FAULTY)


def test_a_run_that_was_stopped_by_hand_is_whole(tmp_path: Path) -> None:
    """Its scenario is written again, as long as the load lasted: nobody changed it behind the run's back."""
    run = create_run_dir(tmp_path, "plain")
    recorder = Recorder(run)
    recorder.write_json("scenario.json", PLAIN)
    _shorten(PLAIN, recorder, 7.0)
    recorder.event(f.RUN_ENDED)
    recorder.close()
    assert read_scenario(run).load.duration == 7.0
    assert load_history(run).losses == ()
