"""Where this process may make control groups."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from rushhour.errors import StackError
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


def find_hierarchy(proc: Path = Path("/proc")) -> Hierarchy:
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
    mounts = list(_mounts(proc))
    own = _own_groups(proc)
    v1 = {
        controller: _inside(mount, root, own.get(controller, "/"))
        for mount, root, kind, controllers in mounts
        if kind == "cgroup"
        for controller in controllers
    }
    if "cpu" in v1 and "cpuacct" in v1:
        yield Hierarchy(1, v1["cpu"], v1["cpuacct"])
    for mount, root, kind, _ in mounts:
        if kind != "cgroup2":
            continue
        # A group that has processes of its own cannot give controllers to groups below it, except the root:
        # so look beside us, further and further up.
        place = _inside(mount, root, own.get("", "/"))
        for directory in [place, *place.parents]:
            if _gives_cpu(directory):
                yield Hierarchy(2, directory, directory)
            if directory == mount:
                break


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


def _mounts(proc: Path) -> Iterator[tuple[Path, str, str, tuple[str, ...]]]:
    """Mount point, root within the file system, type and controllers of every mounted hierarchy."""
    try:
        lines = (proc / "self" / "mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return  # no such file: not Linux
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if kind[0] in {"cgroup", "cgroup2"}:
            yield Path(fields[4]), fields[3], kind[0], tuple(kind[-1].split(","))


def _own_groups(proc: Path) -> dict[str, str]:
    """Map each controller to the group this process is in; "" is the unified hierarchy."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    own: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    return own


def _inside(mount: Path, root: str, group: str) -> Path:
    """Return a group's directory under its mount, which in a container shows a part of the hierarchy only."""
    relative = os.path.relpath(group, root)
    inside = mount / relative
    return inside if not relative.startswith("..") and inside.is_dir() else mount
