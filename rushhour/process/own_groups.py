"""Finds the control groups that this process is in."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class OwnGroups:
    """This process's group in one mounted hierarchy, with the groups around it."""

    version: int
    controllers: tuple[str, ...]  # of the mount in version 1; each group of version 2 lists its own
    directories: tuple[Path, ...]  # this process's group first, then those around it, up to the mount


def own_groups(proc: Path = PROC) -> Iterator[OwnGroups]:
    """Yield the groups of this process, one for each mounted hierarchy; none outside of Linux."""
    own = _paths(proc)
    for mount, root, kind, options in _mounts(proc):
        version, controllers = (2, ()) if kind == "cgroup2" else (1, options)
        place = _inside(mount, root, next((own[name] for name in controllers or ("",) if name in own), "/"))
        around = (parent for parent in place.parents if parent.is_relative_to(mount))
        yield OwnGroups(version, controllers, (place, *around))


def _mounts(proc: Path) -> Iterator[tuple[Path, str, str, tuple[str, ...]]]:
    """Mount point, root within the file system, type and options of every mounted hierarchy."""
    try:
        lines = (proc / "self" / "mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return  # no such file: not Linux
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if kind[0] in {"cgroup", "cgroup2"}:
            yield Path(fields[4]), fields[3], kind[0], tuple(kind[-1].split(","))


def _paths(proc: Path) -> dict[str, str]:
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
