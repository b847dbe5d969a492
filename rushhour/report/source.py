"""Reads source lines around a call site, as the file is when the report is written."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.scenario.model import Scenario

_FOLDERS: Final = "python*/*-packages"


@dataclass(frozen=True, slots=True)
class SourceLine:
    number: int
    text: str
    hit: bool  # the line of the call site


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Source lines around a call site; when there are none, `problem` says why."""

    lines: tuple[SourceLine, ...] = ()
    problem: str = ""

    @property
    def hit(self) -> str:
        """The line of the call site without its indent; empty when it could not be read."""
        return next((line.text.strip() for line in self.lines if line.hit), "")


@dataclass(frozen=True, slots=True)
class Sources:
    """The folders of the service's source files: its own, and those of its installed packages."""

    root: Path | None
    installed: tuple[Path, ...] = ()

    def excerpt(self, file: str, line: int, around: int = 4) -> Excerpt:
        return excerpt(self.root, file, line, around, self.installed)


def sources_of(scenario: Scenario, root: Path | None) -> Sources:
    """Find the source folders of a scenario's service; `root` is its own folder."""
    return Sources(root, () if root is None else package_folders(scenario))


def package_folders(scenario: Scenario) -> tuple[Path, ...]:
    """Find the site-packages folders of the service's environment on this machine."""
    root = Path(scenario.target.root)
    python = scenario.target.python or sys.executable
    # Not resolved, because the interpreter of a virtual environment is a link to one outside of it.
    prefixes = [(root / python).absolute().parent.parent] if "/" in python else []
    prefixes += [root / ".venv", root / "venv"]
    found = (
        folder
        for prefix in prefixes
        for lib in ("lib", "lib64")
        for folder in sorted((prefix / lib).glob(_FOLDERS))
    )
    return tuple(dict.fromkeys(folder.resolve() for folder in found if folder.name.endswith("-packages")))


def excerpt(
    root: Path | None, file: str, line: int, around: int = 4, installed: Sequence[Path] = ()
) -> Excerpt:
    """Read `line` of `root/file` with `around` lines on each side.

    A file that is not below `root` is looked up in the `installed` folders. Files outside of these folders
    are never read.
    """
    if root is None:
        return Excerpt(problem="no source folder was given")
    path = (root / file).resolve()
    inside = path.is_relative_to(root.resolve())
    if not (inside and path.is_file()):
        for folder in installed:
            candidate = (folder / file).resolve()
            if candidate.is_relative_to(folder) and candidate.is_file():
                path, inside = candidate, True
                break
    if not inside:
        return Excerpt(problem=f"{file} lies outside of the service's folder")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return Excerpt(problem=f"{file} could not be read: {error.strerror or error}")
    lines = text.splitlines()
    if not 1 <= line <= len(lines):
        return Excerpt(problem=f"{file} has {len(lines)} lines now; line {line} is not among them")
    first = max(1, line - around)
    shown = enumerate(lines[first - 1 : line + around], first)
    return Excerpt(tuple(SourceLine(number, row, number == line) for number, row in shown))
