"""Says before a run whether this machine can carry its customers: open files, ports and memory."""

import resource
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from rushhour.errors import UsageError
from rushhour.metrics.wording import counted
from rushhour.process.own_groups import PROC, own_groups
from rushhour.scenario.model import Load, Scenario

SPARE_FILES: Final = 200  # of a Locust process: libraries, logs, the other processes
SPARE_PORTS: Final = 500  # for the service's own connections, and those that have just ended
PROCESS_MB: Final = 120  # a Locust process without customers
CUSTOMER_KB: Final = 40  # a customer with a connection; docs/load.md has the figures
# By version of control groups: limits, what is used of them, and the parts of that which the kernel drops
# when memory is asked for, as it counts them for MemAvailable.
_MEMORY: Final = {
    1: (
        ("memory.limit_in_bytes",),
        "memory.usage_in_bytes",
        {"total_inactive_file", "total_active_file"},
    ),
    2: (
        ("memory.max", "memory.high"),
        "memory.current",
        {"inactive_file", "active_file", "slab_reclaimable"},
    ),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine allows; None: no limit, or it cannot be read."""

    open_files: int | None  # of a process, the hard limit
    ports: int | None  # to one address
    memory_mb: float | None  # that is available


def this_machine(proc: Path = PROC) -> Machine:
    """Read the limits of this process and this machine."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    memory = [psutil.virtual_memory().available, *_left_in_groups(proc)]
    return Machine(None if hard == resource.RLIM_INFINITY else hard, _ports(proc), min(memory) / 1e6)


def machine_problems(scenario: Scenario, machine: Machine, *, workers_here: bool = True) -> list[str]:
    """Return why the machine cannot carry a scenario's load, each with the way to raise the limit.

    Without `workers_here` only the master runs on this machine.
    """
    problems = [*_of_master(scenario.load, machine)]
    if workers_here:
        problems += _of_customers(scenario.load, machine)
    return [f"scenario {scenario.name}: {problem}" for problem in problems]


def _of_master(load: Load, machine: Machine) -> Iterator[str]:
    needed = load.workers + SPARE_FILES  # a connection of each worker
    if load.workers and machine.open_files is not None and needed > machine.open_files:
        yield (
            f"{counted(load.workers, 'worker')} of one Locust master {_files(needed, machine.open_files)}, "
            "or share the customers among fewer workers"
        )


def _of_customers(load: Load, machine: Machine) -> Iterator[str]:
    customers, senders = load.users or 0, max(1, load.workers)
    each = -(-customers // senders)  # in a process
    files, ports = each + SPARE_FILES, customers + SPARE_PORTS
    processes = load.workers + 1  # the master, or the only one
    memory_mb = customers * CUSTOMER_KB / 1000 + processes * PROCESS_MB
    everybody = counted(customers, "customer")
    if machine.open_files is not None and files > machine.open_files:
        yield (
            f"{counted(each, 'customer')} in a Locust process {_files(files, machine.open_files)}, or share "
            "the customers among more processes with --workers N"
        )
    if machine.ports is not None and ports > machine.ports:
        yield (
            f"{everybody} need {ports:,} ports, and this machine has {machine.ports:,} for one "
            "address (net.ipv4.ip_local_port_range): widen it (root: "
            "`sysctl -w net.ipv4.ip_local_port_range='1024 65535'`), or let workers on other machines take "
            "part with --workers-at"
        )
    if machine.memory_mb is not None and memory_mb > machine.memory_mb:
        senders_too = f" in {processes:,} processes of Locust" if load.workers else ""
        yield (
            f"{everybody}{senders_too} need about {memory_mb:,.0f} MB, and {machine.memory_mb:,.0f} MB are "
            "available: end other programs, raise the container's memory limit, or let workers on other "
            "machines take part with --workers-at"
        )


def _files(needed: int, limit: int) -> str:
    return (
        f"need {needed:,} open files, and the hard limit is {limit:,} (ulimit -Hn): raise it (root: "
        f"`ulimit -n {needed}`; systemd: LimitNOFILE={needed}; Docker: --ulimit nofile={needed})"
    )


def check_machine(scenarios: Iterable[Scenario]) -> None:
    """Raise UsageError if this machine cannot carry the customers of these scenarios."""
    machine = this_machine()
    problems = [problem for scenario in scenarios for problem in machine_problems(scenario, machine)]
    if problems:
        raise UsageError(problems)


def make_room(scenarios: Iterable[Scenario]) -> None:
    """Raise the limit of open files if it is below the customers: the service inherits it from this process.

    A service that cannot accept a customer's connection would look as if it were slow. How many customers of
    open arrivals are there at once is not known before: a slow service keeps them.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    loads = [scenario.load for scenario in scenarios]
    if any(load.arrivals is not None or (load.users or 0) + SPARE_FILES > soft for load in loads):
        raise_open_files()


def raise_open_files() -> None:
    """Let this process open as many files as it may: a connection is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _ports(proc: Path) -> int | None:
    try:
        first, last = map(int, (proc / "sys" / "net" / "ipv4" / "ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        return None
    return last - first + 1


def _left_in_groups(proc: Path) -> Iterator[int]:
    """Yield what is left of each memory limit of a control group that this process is in."""
    for groups in own_groups(proc):
        if groups.version == 2 or "memory" in groups.controllers:
            limits, used, droppable = _MEMORY[groups.version]
            for directory in groups.directories:
                most = [int(text) for name in limits if (text := _text(directory / name)).isdecimal()]
                taken = _text(directory / used)
                if most and taken.isdecimal():
                    dropped = _sum(_text(directory / "memory.stat"), droppable)
                    yield max(0, min(most) - int(taken) + dropped)


def _sum(stat: str, names: Collection[str]) -> int:
    pairs = [line.split() for line in stat.splitlines()]
    return sum(int(value) for name, value in pairs if name in names)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""  # the root of the hierarchy has no limits
