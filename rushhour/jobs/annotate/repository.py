"""Finds the lines of a service in the repository that a CI server shows."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rushhour.jobs.annotate.annotation import Spot, shown
from rushhour.process.printable import clean
from rushhour.report.source import SUFFIXES, excerpt
from rushhour.rundir.facts import CallSite

WORKSPACES: Final = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")  # where GitHub and GitLab check the repository out
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
_FRAME: Final = re.compile(r"(?P<file>.+):(?P<line>\d+) (?P<function>.*)", re.DOTALL)


class Repository:
    """Gives lines of source the names that they have in the repository.

    `service` is the folder that names of files refer to; with None no line is found. `working` is the working
    folder, `environment` the variables in which a CI server names its own folder.
    """

    def __init__(self, service: Path | None, working: Path, environment: Mapping[str, str]) -> None:
        self._service = service
        self._working = working
        spaces = [Path(environment[name]) for name in WORKSPACES if environment.get(name)]
        self._checkouts = [space for space in spaces if _is_toplevel(space)]
        self._spaces = spaces

    def spot(self, site: CallSite, stack: Sequence[str] = ()) -> Spot | None:
        """Return the line of a call site, else that of its nearest caller in the repository, else None.

        `stack` holds the callers as `app/x.py:12 list_referrals`, the nearest first.
        """
        found = self._spot(site)
        if found is not None:
            return found
        for frame in stack:
            if (match := _FRAME.fullmatch(frame)) is None:
                continue
            caller = CallSite(match["file"], int(match["line"]), match["function"])
            if caller != site and (found := self._spot(caller)) is not None:
                return found
        return None

    def file(self, file: Path, line: int | None) -> Spot | None:
        """Return a line of a file that is no source, such as the scenario file."""
        try:
            name = self._name(file.resolve())
        except (OSError, ValueError, RuntimeError):
            return None
        return None if name is None else Spot(name, line)

    def _spot(self, site: CallSite) -> Spot | None:
        if self._service is None:
            return None
        names = [site.file]
        if "\\" in site.file:  # as a service on Windows writes it
            names.append(site.file.replace("\\", "/"))
        try:
            for name in names:
                path = (self._service / name).resolve()
                if path.suffix in SUFFIXES and path.is_file() and not _INSTALLED & {*path.parts}:
                    return self._at(path, site)
        except (OSError, ValueError, RuntimeError):  # a NUL in the name, links in a circle
            return None
        return None

    def _at(self, path: Path, site: CallSite) -> Spot | None:
        name = self._name(path)
        if name is None:
            return None
        line = next((item for item in excerpt(path.parent, path.name, site.line, 0).lines if item.hit), None)
        function = shown(site.function)
        if line is None:  # the file has changed since, and is shorter now
            return Spot(name, None, function)
        return Spot(name, site.line, function, shown(line.text.strip()))

    def _name(self, path: Path) -> str | None:
        """Return a file's name in the innermost repository that CI shows; None for a file outside of all."""
        for root in self._roots(path):
            if path.is_relative_to(root):
                name = path.relative_to(root).as_posix()
                return name if clean(name) == name else None
        return None

    def _roots(self, path: Path) -> list[Path]:
        own = [top for top in (_toplevel(self._working), _toplevel(path.parent)) if top is not None]
        found = [*self._checkouts, *own, *self._spaces] or [self._working]
        return [folder.resolve() for folder in found]


def repository(service: Path | None) -> Repository:
    """Return the repository as this process's environment has it."""
    return Repository(service, Path.cwd(), os.environ)


def _is_toplevel(folder: Path) -> bool:
    return (folder / ".git").exists()  # a file in a worktree or a submodule


def _toplevel(folder: Path) -> Path | None:
    folder = folder.resolve()
    return next((parent for parent in (folder, *folder.parents) if _is_toplevel(parent)), None)
