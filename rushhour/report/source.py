"""The lines of source around a call site, as they are when the report is written."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.rundir.masking import mask_text
from rushhour.scenario.model import Scenario

_FOLDERS: Final = "python*/*-packages"
SUFFIXES: Final = frozenset({".py", ".pyw", ".pyx", ".pyi"})
LARGEST_BYTES: Final = 4_000_000


def trusted_root(root: Path, working: Path) -> Path | None:
    """Return the folder that a saved run names as the service's, if it lies in the working folder; else None.

    A run directory that a stranger made could name any folder, and its report would carry what lies there.
    """
    try:
        return root if root.resolve().is_relative_to(working.resolve()) else None
    except (OSError, ValueError, RuntimeError):
        return None


@dataclass(frozen=True, slots=True)
class SourceLine:
    number: int
    text: str
    hit: bool  # the line of the call site


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines around a call site; without lines, `problem` says why."""

    lines: tuple[SourceLine, ...] = ()
    problem: str = ""

    @property
    def hit(self) -> str:
        """The line of the call site itself, without its indent; empty when it could not be read."""
        return next((line.text.strip() for line in self.lines if line.hit), "")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the service's files are: its folder, and those of the packages that it has installed."""

    root: Path | None
    installed: tuple[Path, ...] = ()

    def excerpt(self, file: str, line: int, around: int = 4) -> Excerpt:
        return excerpt(self.root, file, line, around, self.installed)


def sources_of(scenario: Scenario, root: Path | None) -> Sources:
    """Return the sources of a scenario's service, whose folder is `root`."""
    return Sources(root, () if root is None else package_folders(scenario))


def package_folders(scenario: Scenario) -> tuple[Path, ...]:
    """Return where the packages of the service's environment are installed, as far as on this machine."""
    root = Path(scenario.target.root)
    python = scenario.target.python or sys.executable
    # Not resolved: the interpreter of an environment is a link that leads out of it.
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
    """Read `line` of `root/file`, or of the file in the folders of `installed` packages, with its neighbours.

    The file's name stands in a run directory, which a stranger may have made: only Python source below these
    folders is read, and its passwords are masked.
    """
    if root is None:
        return Excerpt(problem="no source folder was given")
    try:
        path, folder = _find(root.resolve(), file, installed)
        if problem := _refusal(path, folder):
            return Excerpt(problem=f"{file} {problem}")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return Excerpt(problem=f"{file} could not be read: {error.strerror or error}")
    except (ValueError, RuntimeError) as error:  # a NUL in the name, links in a circle
        return Excerpt(problem=f"{file} could not be read: {error}")
    lines = text.splitlines()
    if not 1 <= line <= len(lines):
        return Excerpt(problem=f"{file} has {len(lines)} lines now; line {line} is not among them")
    first = max(1, line - around)
    shown = enumerate(lines[first - 1 : line + around], first)
    return Excerpt(tuple(SourceLine(number, mask_text(row), number == line) for number, row in shown))


def _find(root: Path, file: str, installed: Sequence[Path]) -> tuple[Path, Path]:
    """Return where the file is, and the folder that it has to lie in."""
    for folder in (root, *installed):
        path = (folder / file).resolve()
        if path.is_relative_to(folder) and path.is_file():
            return path, folder
    return (root / file).resolve(), root


def _refusal(path: Path, root: Path) -> str:
    """Return why a file is not read, in words; empty when it may be."""
    if not path.is_relative_to(root):
        return "lies outside of the service's folder"
    if not path.exists() or path.is_dir():
        return ""  # reading it says what is wrong
    if not path.is_file():
        return "is not a file"
    if path.suffix not in SUFFIXES:
        return "is not Python source"
    return f"is larger than {LARGEST_BYTES:,} bytes" if path.stat().st_size > LARGEST_BYTES else ""
