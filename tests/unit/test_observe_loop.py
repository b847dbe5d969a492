"""The grid, the faults and the end of an observer's thread; and where its facts go."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushhour.observe.loop import Loop, next_tick_s
from rushhour.observe.sink import Sink
from rushhour.rundir import Recorder, RunDir, load_history
from rushhour.rundir import facts as f

SOON_S = 20.0  # far more than any step here takes


class Steps:
    """Counts its calls, fails in the first `failures` of them, and tells when it has been called enough."""

    def __init__(self, failures: int = 0, enough: int = 1) -> None:
        self.calls = 0
        self.finished = 0
        self.faults: list[tuple[str, str]] = []
        self.enough = threading.Event()
        self._failures = failures
        self._enough = enough

    def step(self) -> None:
        self.calls += 1
        if self.calls >= self._enough:
            self.enough.set()
        if self.calls <= self._failures:
            raise ValueError(f"attempt {self.calls}")

    def finish(self) -> None:
        self.finished += 1

    def fault(self, name: str, error: Exception) -> None:
        self.faults.append((name, str(error)))


def test_the_next_tick_is_on_the_grid_and_missed_ones_are_skipped() -> None:
    assert next_tick_s(100.0, 100.0, 0.5) == 100.5
    assert next_tick_s(100.0, 100.4, 0.5) == 100.5
    assert next_tick_s(100.0, 107.3, 0.5) == 107.5


@given(st.floats(0, 1e6), st.floats(0, 1e5), st.sampled_from([0.1, 0.25, 1.0]))
def test_the_next_tick_comes_within_one_interval(start_s: float, later_s: float, every_s: float) -> None:
    now_s = start_s + later_s
    assert -1e-6 <= next_tick_s(start_s, now_s, every_s) - now_s <= every_s + 1e-6


def test_a_loop_goes_on_after_a_fault_and_finishes_once() -> None:
    steps = Steps(failures=1, enough=3)
    loop = Loop("pools", 0.001, steps.step, steps.fault, steps.finish)
    loop.start()
    assert steps.enough.wait(SOON_S)
    loop.stop()
    assert loop.ended_by(time.monotonic() + SOON_S)
    assert steps.faults == [("pools", "attempt 1")]
    assert steps.finished == 1


def test_a_fault_in_finish_is_reported() -> None:
    steps = Steps()

    def fail() -> None:
        raise OSError("no disk")

    loop = Loop("pools", 0.001, steps.step, steps.fault, fail)
    loop.start()
    loop.stop()
    assert loop.ended_by(time.monotonic() + SOON_S)
    assert steps.faults == [("pools", "no disk")]


def test_a_hanging_loop_does_not_delay_the_end() -> None:
    release = threading.Event()

    def hang() -> None:
        release.wait(SOON_S)

    loop = Loop("postgres replica", 0.001, hang, Steps().fault)
    loop.start()
    loop.stop()
    assert not loop.ended_by(time.monotonic())
    release.set()
    assert loop.ended_by(time.monotonic() + SOON_S)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(RunDir(tmp_path))
    yield recorder
    recorder.close()


def test_facts_reach_the_files_and_the_live_state_and_events_the_files_only(recorder: Recorder) -> None:
    sink = Sink(recorder)
    sink.keep([f.HostSample(1.0, "service", 0.5, 10.0, 1), f.Event(1.0, f.STACK_BROKE, {"what": "x"})])
    state = sink.state()
    assert (state.cpu_cores, state.moments) == ({"service": 0.5}, ())
    history = load_history(recorder.run)
    assert [sample.component for sample in history.host] == ["service"]
    assert history.time_of(f.STACK_BROKE) == 1.0


def test_a_repeated_fault_is_written_once_and_a_new_one_again(recorder: Recorder) -> None:
    sink = Sink(recorder)
    for error in (OSError("a"), OSError("a"), OSError("b")):
        sink.fault("host", error)
    sink.fault("logs", OSError("b"))
    events = [event for event in load_history(recorder.run).events if event.name == f.OBSERVER_FAULT]
    assert [(event.detail["observer"], event.detail["error"]) for event in events] == [
        ("host", "OSError: a"),
        ("host", "OSError: b"),
        ("logs", "OSError: b"),
    ]


def test_nothing_is_written_after_the_end(recorder: Recorder) -> None:
    sink = Sink(recorder)
    assert sink.close() is None
    sink.keep([f.HostSample(1.0, "service", 0.5, 10.0, 1)])
    sink.fault("host", OSError("late"))
    history = load_history(recorder.run)
    assert (history.host, [event.name for event in history.events]) == ((), [f.ANCHOR])


def test_a_fault_that_cannot_be_written_is_shown_and_returned_by_close(tmp_path: Path) -> None:
    recorder = Recorder(RunDir(tmp_path))
    recorder.close()
    (tmp_path / "events.jsonl").unlink()
    (tmp_path / "events.jsonl").mkdir()  # cannot be opened as a file
    sink = Sink(recorder)
    sink.fault("host", ValueError("x"))
    assert sink.state().moments[0].endswith("observer host failed: ValueError: x")
    assert isinstance(sink.close(), IsADirectoryError)
