"""Runs `docker compose` for a project, with its files and variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rushhour.process.guard import Guard
from rushhour.process.tools import run_tool
from rushhour.stack.compose.engine import Engine


@dataclass(frozen=True, slots=True)
class ComposeCommand:
    """The `docker compose` command of a project."""

    guard: Guard
    engine: Engine
    project: str
    files: tuple[Path, ...]
    variables: Mapping[str, str]

    def run(self, *arguments: str, timeout_s: float, **changed: str) -> None:
        """Run a subcommand, with some variables changed.

        Raises StackError, with the last lines of its output, if it fails or does not end in time.
        """
        run_tool(
            self.guard,
            self.line(*arguments),
            environment={**self.environment, **changed},
            account=None,
            timeout_s=timeout_s,
        )

    def line(self, *arguments: str) -> list[str]:
        """Return the command line."""
        files = [part for path in self.files for part in ("--file", str(path))]
        return [
            "docker",
            "compose",
            "--progress",
            "plain",
            "--project-name",
            self.project,
            *files,
            *arguments,
        ]

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the command."""
        return {**self.engine.environment, **self.variables}
