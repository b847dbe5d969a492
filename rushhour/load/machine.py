"""Says before a run whether this machine can carry its customers: open files, ports and memory."""

import resource
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
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
ELSEWHERE: Final = "let workers on other machines take part with --workers-at"
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

    open_files: int | None  # of a process: the hard limit, or what this process may raise it to
    ports: int | None  # to one address
    memory_mb: float | None  # that is available


def this_machine(proc: Path = PROC) -> Machine:
    """Read the limits of this process and this machine."""
    memory = [psutil.virtual_memory().available, *_left_in_groups(proc)]
    return Machine(_open_files(proc), _ports(proc), min(memory) / 1e6)


def machine_problems(
    scenario: Scenario, machine: Machine, *, workers_here: bool = True, in_containers: bool = False
) -> list[str]:
    """Return why the machine cannot carry a scenario's load, each with the way to raise the limit.

    Without `workers_here` only the master runs on this machine. Workers `in_containers` share its memory;
    open files and ports are those of each container, in which its worker looks (`worker_problems`).
    """
    problems = [*_of_master(scenario.load, machine)]
    if scenario.load.workers and in_containers:
        machine = replace(machine, open_files=None, ports=None)
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
    processes = load.workers + 1  # the master, or the only one
    everybody = counted(customers, "customer")
    if load.workers:
        everybody += f" in {processes:,} processes of Locust"
    yield from _too_few_files(-(-customers // senders), machine)
    yield from _too_few_ports(customers, machine, ELSEWHERE)
    yield from _too_little_memory(everybody, customers, processes * PROCESS_MB, machine, ELSEWHERE)


def processes_problems(workers: int, machine: Machine) -> list[str]:
    """Return why a machine cannot start so many workers, whose customers are not known yet."""
    fewer = "start fewer with --processes N"
    return [*_too_little_memory(counted(workers, "worker"), 0, workers * PROCESS_MB, machine, fewer)]


def worker_problems(customers: int, workers: int, machine: Machine) -> list[str]:
    """Return why a machine, or a container, cannot carry the workers that run on it, which are there already.

    `customers` are those of one worker.
    """
    here = customers * workers
    more = "share the customers among more machines or containers with --workers N"
    return [
        *_too_few_files(customers, machine),
        *_too_few_ports(here, machine, more),
        *_too_little_memory(counted(here, "customer"), here, 0, machine, more),
    ]


def _too_few_files(customers: int, machine: Machine) -> Iterator[str]:
    """Yield whether the connections of one process are more than it may have."""
    needed = customers + SPARE_FILES
    if machine.open_files is not None and needed > machine.open_files:
        yield (
            f"{counted(customers, 'customer')} in a Locust process {_files(needed, machine.open_files)}, or "
            "share the customers among more processes with --workers N"
        )


def _too_few_ports(customers: int, machine: Machine, otherwise: str) -> Iterator[str]:
    needed = customers + SPARE_PORTS
    if machine.ports is not None and needed > machine.ports:
        yield (
            f"{counted(customers, 'customer')} need {needed:,} ports, and this machine has {machine.ports:,} "
            "for one address (net.ipv4.ip_local_port_range): widen it (root: "
            "`sysctl -w net.ipv4.ip_local_port_range='1024 65535'`; Docker: `--sysctl` with the same), or "
            f"{otherwise}"
        )


def _too_little_memory(
    whose: str, customers: int, processes_mb: float, machine: Machine, otherwise: str
) -> Iterator[str]:
    needed_mb = customers * CUSTOMER_KB / 1000 + processes_mb
    if machine.memory_mb is not None and needed_mb > machine.memory_mb:
        yield (
            f"{whose} need about {needed_mb:,.0f} MB, and {machine.memory_mb:,.0f} MB are available: end "
            f"other programs, raise the container's memory limit, or {otherwise}"
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
    needed = max(((load.users or 0) + SPARE_FILES for load in loads), default=0)
    if needed > soft or any(load.arrivals is not None for load in loads):
        raise_open_files(needed)


def raise_open_files(needed: int = 0) -> None:
    """Let this process open as many files as its hard limit says: a connection is a file.

    If that is fewer than `needed`, the hard limit is raised, too, where this process may do that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > hard and _set_hard_limit(needed):
        hard = needed
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _set_hard_limit(files: int) -> bool:
    """Return whether this process may have this hard limit, and has it now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, files), files))
    except (OSError, ValueError):  # not root, a container's root, or more than the system has for any process
        return False
    return True


def _open_files(proc: Path) -> int | None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return None
    most = _text(proc / "sys" / "fs" / "nr_open")
    if not most.isdecimal() or int(most) <= hard or not _set_hard_limit(int(most)):
        return hard
    _set_hard_limit(hard)  # until it is known how many are needed
    return int(most)


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
