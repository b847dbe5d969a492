"""The lines of source around a call site, as they are when the report is written."""

from dataclasses import dataclass
from pathlib import Path


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


def excerpt(root: Path | None, file: str, line: int, around: int = 4) -> Excerpt:
    """Read `line` of `root/file` with `around` lines on each side; never a file outside of `root`."""
    if root is None:
        return Excerpt(problem="no source folder was given")
    path = (root / file).resolve()
    if not path.is_relative_to(root.resolve()):
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
