"""Starts the load in a single process, in local workers, in containers or on other machines."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rushhour.load.locust import STOP_GRACE_S, customer_settings, start_load
from rushhour.load.master_address import CONTAINERS_S, GATHER_S, MasterAddress
from rushhour.observe.watch import Watcher
from rushhour.process.child import Child
from rushhour.process.guard import Guard
from rushhour.process.ports import free_port
from rushhour.process.psutil_meters import ProcessTreeMeter
from rushhour.rundir import Recorder
from rushhour.scenario.model import Scenario
from rushhour.stack import HostsWorkers, Running


@dataclass(frozen=True, slots=True)
class ByHand:
    """The address at which a master waits for workers that a user starts by hand."""

    host: str
    port: int


def how_to_join(scenario: Scenario, by_hand: ByHand) -> str:
    """Return the command to type on the machines that shall run customers."""
    master = MasterAddress(by_hand.host, by_hand.port, GATHER_S)
    return (
        f"Workers: the load waits up to {master.wait_s:.0f} s for {scenario.load.workers} at {master}. "
        f"On each machine, in a checkout of the same commit:\n"
        f"  .venv/bin/rushhour worker {master} --locustfile {scenario.load.locustfile}"
    )


@contextmanager
def place_load(
    scenario: Scenario,
    running: Running,
    recorder: Recorder,
    guard: Guard,
    watcher: Watcher,
    *,
    by_hand: ByHand | None,
    allow_host: str | None,
) -> Iterator[Child]:
    """Start and meter the load, and stop it when the block ends.

    Raises UsageError or StackError if it cannot be started.
    """
    root = Path(scenario.target.root).resolve()
    url, allowed, master, contained = running.service_url, allow_host, None, None
    if scenario.load.workers and by_hand:
        master = MasterAddress(by_hand.host, by_hand.port, GATHER_S)
    elif scenario.load.workers and isinstance(running, HostsWorkers):
        contained = running
        host, (url, allowed) = running.master_host, running.inside
        master = MasterAddress(host, free_port(host), CONTAINERS_S)
    load = start_load(
        guard, scenario, url, recorder.run, recorder.anchor_wall_s, master=master, allow_host=allowed
    )
    try:
        watcher.add_meter("generator", ProcessTreeMeter(load.pid))
        if contained is not None and master is not None:
            meters = contained.start_workers(
                scenario.load.workers,
                root / scenario.load.locustfile,
                master.port,
                customer_settings(scenario),
            )
            for name, meter in meters.items():
                watcher.add_meter(name, meter)
        yield load
    finally:
        load.stop(STOP_GRACE_S)
