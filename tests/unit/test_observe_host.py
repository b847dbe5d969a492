"""Meters' readings turned into rates."""

from dataclasses import dataclass, field

import pytest

from rushhour.observe.host import HostSampler
from rushhour.process.meter import MeterReading
from rushhour.rundir.facts import HostSample

MB = 1024 * 1024


@dataclass
class Clock:
    """Time that stands still until it is moved."""

    t_s: float = 0.0

    def __call__(self) -> float:
        return self.t_s


@dataclass
class ScriptedMeter:
    """Gives the readings it was made with, one after the other; an exception among them is raised."""

    script: list[MeterReading | Exception]
    limit_cores: float | None = None

    def read(self) -> MeterReading:
        now = self.script.pop(0)
        if isinstance(now, Exception):
            raise now
        return now


@dataclass
class Faults:
    told: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, component: str, error: Exception) -> None:
        self.told.append((component, str(error)))


def test_use_between_two_readings_over_the_time_between_them() -> None:
    clock, faults = Clock(10.0), Faults()
    meter = ScriptedMeter(
        [MeterReading(5.0, 100 * MB, 3, throttled_s=1.0), MeterReading(6.5, 120 * MB, 4, throttled_s=1.2)],
        limit_cores=0.5,
    )
    sampler = HostSampler({"replica": meter}, clock, faults)
    assert sampler.sample() == []  # one reading is no rate
    clock.t_s = 12.0
    assert sampler.sample() == [HostSample(12.0, "replica", 0.75, 120.0, 4, 0.5, throttled_cores=0.1)]
    assert faults.told == []


def test_a_counter_that_steps_back_is_no_negative_use() -> None:
    clock = Clock()
    sampler = HostSampler(
        {"x": ScriptedMeter([MeterReading(5.0, 0, 1), MeterReading(4.9, 0, 1)])}, clock, Faults()
    )
    sampler.sample()
    clock.t_s = 1.0
    assert sampler.sample()[0].cpu_cores == 0.0


def test_ended_components_are_left_out_and_failing_meters_are_reported() -> None:
    clock, faults = Clock(), Faults()
    reading = MeterReading(0.0, 0, 1)
    sampler = HostSampler(
        {
            "ended": ScriptedMeter([reading, ProcessLookupError("gone"), ProcessLookupError("gone")]),
            "failing": ScriptedMeter([reading, OSError("no answer"), MeterReading(1.0, 0, 1)]),
            "well": ScriptedMeter([reading, reading, reading]),
        },
        clock,
        faults,
    )
    sampler.sample()
    clock.t_s = 1.0
    assert [sample.component for sample in sampler.sample()] == ["well"]
    assert faults.told == [("failing", "no answer")]
    clock.t_s = 2.0
    found = {sample.component: sample.cpu_cores for sample in sampler.sample()}
    assert found == {"failing": pytest.approx(0.5), "well": 0.0}  # one second's use over two seconds


def test_a_component_that_joins_later_is_read_from_then_on() -> None:
    clock = Clock()
    sampler = HostSampler({}, clock, Faults())
    assert sampler.sample() == []
    sampler.add("generator", ScriptedMeter([MeterReading(1.0, 0, 1), MeterReading(1.5, 0, 1)]))
    sampler.sample()
    clock.t_s = 1.0
    assert [(s.component, s.cpu_cores) for s in sampler.sample()] == [("generator", 0.5)]
