"""Collects the annotations of a command, and writes them in each format when it ends."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rushhour.errors import UsageError
from rushhour.jobs.annotate.annotation import Annotation, Outcome, Spot, annotation, shown
from rushhour.jobs.annotate.comment import comment
from rushhour.jobs.annotate.formats import Formats
from rushhour.jobs.annotate.github import workflow_commands
from rushhour.jobs.annotate.gitlab import code_quality
from rushhour.jobs.annotate.rules import UNKNOWN
from rushhour.jobs.annotate.sarif import sarif

Elsewhere = Callable[[Annotation], Spot | None]  # a place for an annotation that has no line of its own


class Annotations:
    """What a command found, in the order in which it found it.

    `echo` prints a line for the CI server, `warn` one for people.
    """

    def __init__(self, formats: Formats, echo: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self.formats = formats
        self._echo = echo
        self._warn = warn
        self._outcomes: list[Outcome] = []
        self._found: list[Annotation] = []
        self.elsewhere: Elsewhere = lambda _: None

    @property
    def wanted(self) -> bool:
        """Whether any format is written at all."""
        return self.formats != Formats()

    def add(self, outcome: Outcome, found: Sequence[Annotation]) -> None:
        """Add a result, with its annotations."""
        self._outcomes.append(outcome)
        self._found += found

    def add_unknown(self, name: str, why: str) -> None:
        """Add a result that could not be had."""
        self.add(
            Outcome(name, "unknown", shown(why)),
            [annotation("warning", UNKNOWN, f"{name}: unknown", [why], None, [name])],
        )

    @contextmanager
    def written_at_end(self, name: str) -> Iterator[None]:
        """Write everything when the block ends, also by an error, which makes `name` unknown.

        An error in how a command is called is no result, and leaves no annotation.
        """
        try:
            yield
        except BaseException as error:
            if not isinstance(error, UsageError):
                why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
                self.add_unknown(name, f"was not judged to its end: {why or type(error).__name__}")
            if self._outcomes:
                self._write()
            raise
        self._write()

    def _write(self) -> None:
        if not self.wanted:
            return
        formats, found = self.formats, self._found
        if formats.github:
            for line in workflow_commands(found):
                self._echo(line)
        for path, render in ((formats.gitlab, code_quality), (formats.sarif, sarif)):
            if path is not None:
                places = [None if item.spot else self.elsewhere(item) for item in found]
                self._save(path, render(found, places))
        text = comment(self._outcomes, found)
        if formats.comment is not None:
            self._save(formats.comment, text)
        if formats.step_summary is not None:
            self._save(formats.step_summary, text, mode="a")

    def _save(self, path: Path, text: str, mode: str = "w") -> None:
        """Write a file; a failure changes no verdict and no exit code, so it is said."""
        try:
            with path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            self._warn(f"rushhour: annotations could not be written to {path}: {error.strerror}")
