"""Where this process may make control groups."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from rushhour.errors import StackError
from rushhour.process.own_groups import PROC, own_groups
from rushhour.stack.processes.cgroups import CpuGroup, GroupV1, GroupV2


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups can be made."""

    version: int
    cpu: Path
    cpuacct: Path

    def make(self, name: str) -> CpuGroup:
        """Make a group. Raises OSError where that is not allowed."""
        group: CpuGroup = (
            GroupV2(self.cpu / name) if self.version == 2 else GroupV1(self.cpu / name, self.cpuacct / name)
        )
        made: list[Path] = []
        try:
            for directory in group.directories:
                directory.mkdir()
                made.append(directory)
        except OSError:
            for directory in made:
                directory.rmdir()
            raise
        return group

    def remove_dead(self) -> None:
        """Remove empty groups of harnesses that no longer run: `rushhour-<pid>-...`."""
        for parent in {self.cpu, self.cpuacct}:
            for left in parent.glob("rushhour-*-*"):
                pid = left.name.split("-")[1]
                if pid.isdecimal() and not psutil.pid_exists(int(pid)):
                    with suppress(OSError):  # not empty: its processes are another guard's to end
                        left.rmdir()


def find_hierarchy(proc: Path = PROC) -> Hierarchy:
    """Find the first place where a group can be made, limited and removed. Raises StackError with why not."""
    why: list[str] = []
    for candidate in candidates(proc):
        try:
            _try_out(candidate)
        except OSError as error:
            why.append(f"{candidate.cpu}: {error.strerror or error}")
        else:
            return candidate
    raise StackError("; ".join(why[:2]) or "no control group has a CPU controller")


def _try_out(hierarchy: Hierarchy) -> None:
    group = hierarchy.make(f"rushhour-{os.getpid()}-probe-{os.urandom(3).hex()}")
    try:
        group.limit(0.5, 2)
        group.weigh(10)
        group.cpu_s()
    finally:
        for directory in group.directories:
            directory.rmdir()


def candidates(proc: Path) -> Iterator[Hierarchy]:
    """Yield hierarchies with a CPU controller, nearest first, whether they can be written or not."""
    groups = list(own_groups(proc))
    v1 = {name: each.directories[0] for each in groups for name in each.controllers}
    if "cpu" in v1 and "cpuacct" in v1:
        yield Hierarchy(1, v1["cpu"], v1["cpuacct"])
    for each in groups:
        # A group that has processes of its own cannot give controllers to groups below it, except the root:
        # so look beside us, further and further up.
        for directory in each.directories if each.version == 2 else ():
            if _gives_cpu(directory):
                yield Hierarchy(2, directory, directory)


def _gives_cpu(directory: Path) -> bool:
    """Whether groups below this one have a CPU controller; it is switched on where that is allowed."""
    control = directory / "cgroup.subtree_control"
    try:
        if "cpu" not in control.read_text().split():
            if "cpu" not in (directory / "cgroup.controllers").read_text().split():
                return False
            control.write_text("+cpu")
    except OSError:
        return False
    return True
