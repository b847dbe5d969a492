"""Says before a run whether this machine can carry its customers: open files, ports and memory."""

import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from rushhour.errors import UsageError
from rushhour.metrics.wording import counted
from rushhour.scenario.model import Scenario

SPARE_FILES: Final = 200  # of a Locust process: libraries, logs, the other processes
SPARE_PORTS: Final = 500  # for the service's own connections, and those that have just ended
PROCESS_MB: Final = 120  # a Locust process without customers
CUSTOMER_KB: Final = 40  # a customer with a connection; docs/load.md has the figures
_PORTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_GROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine allows; None: no limit, or it cannot be read."""

    open_files: int | None  # of a process, the hard limit
    ports: int | None  # to one address
    memory_mb: float | None  # that is available


def this_machine() -> Machine:
    """Read the limits of this process and this machine."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    memory = [psutil.virtual_memory().available, *_left_in_group()]
    return Machine(None if hard == resource.RLIM_INFINITY else hard, _ports(), min(memory) / 1e6)


def machine_problems(scenario: Scenario, machine: Machine) -> list[str]:
    """Return why the machine cannot carry a scenario's customers, each with the way to raise the limit."""
    customers, processes = scenario.load.users or 0, max(1, scenario.load.workers)
    each = -(-customers // processes)  # in a process
    files, ports = each + SPARE_FILES, customers + SPARE_PORTS
    memory_mb = customers * CUSTOMER_KB / 1000 + processes * PROCESS_MB
    everybody, where = counted(customers, "customer"), f"scenario {scenario.name}"
    problems = []
    if machine.open_files is not None and files > machine.open_files:
        problems.append(
            f"{where}: {counted(each, 'customer')} in a Locust process need {files:,} open files, and the "
            f"hard limit is {machine.open_files:,} (ulimit -Hn): raise it (root: `ulimit -n {files}`; "
            f"systemd: LimitNOFILE={files}; Docker: --ulimit nofile={files}), or share the customers among "
            "more processes with --workers N"
        )
    if machine.ports is not None and ports > machine.ports:
        problems.append(
            f"{where}: {everybody} need {ports:,} ports, and this machine has {machine.ports:,} for one "
            "address (net.ipv4.ip_local_port_range): widen it (root: "
            "`sysctl -w net.ipv4.ip_local_port_range='1024 65535'`), or let workers on other machines take "
            "part with --workers-at"
        )
    if machine.memory_mb is not None and memory_mb > machine.memory_mb:
        problems.append(
            f"{where}: {everybody} need about {memory_mb:,.0f} MB, and {machine.memory_mb:,.0f} MB are "
            "available: end other programs, raise the container's memory limit, or let workers on other "
            "machines take part with --workers-at"
        )
    return problems


def check_machine(scenarios: Iterable[Scenario]) -> None:
    """Raise UsageError if this machine cannot carry the customers of these scenarios."""
    machine = this_machine()
    problems = [problem for scenario in scenarios for problem in machine_problems(scenario, machine)]
    if problems:
        raise UsageError(problems)


def make_room(scenarios: Iterable[Scenario]) -> None:
    """Raise the limit of open files if it is below the customers: the service inherits it from this process.

    A service that cannot accept a customer's connection would look as if it were slow.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if any((scenario.load.users or 0) + SPARE_FILES > soft for scenario in scenarios):
        raise_open_files()


def raise_open_files() -> None:
    """Let this process open as many files as it may: a connection is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _ports() -> int | None:
    try:
        first, last = map(int, _PORTS.read_text().split())
    except (OSError, ValueError):
        return None
    return last - first + 1


def _left_in_group() -> list[int]:
    """Return what is left of the memory limit of this process's control group, if it has one."""
    try:
        most, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such group, or "max"
        return []
    return [most - used]
