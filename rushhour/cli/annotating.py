"""`--annotate` and `--comment`: findings for CI servers, beside what a command prints for people."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from rushhour.cli.console import say_aside
from rushhour.jobs.annotate.collect import Annotations
from rushhour.jobs.annotate.formats import FORMATS, formats_of


class Format(click.ParamType[str]):
    """A format, or a format and the file that it is written to."""

    name = "format"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        del ctx, param
        return [CompletionItem(name) for name in FORMATS if name.startswith(incomplete)]


def annotate_options(
    name: str, *, stderr: bool = False
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add the options to a command, which gets `annotations` and fills them.

    With `stderr`, lines for GitHub go there: where stdout belongs to another program. GitHub reads both.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def with_annotations(
            *args: Any, annotate: tuple[str, ...], comment: Path | None, **given: Any
        ) -> int:
            formats = formats_of(annotate, comment, os.environ)
            annotations = Annotations(formats, lambda line: _echo(line, stderr=stderr), say_aside)
            with annotations.written_at_end(name):
                return command(*args, annotations=annotations, **given)

        decorated: Callable[..., int] = with_annotations
        for option in (
            click.option(
                "--comment",
                type=click.Path(path_type=Path),
                help="Write a short comment for a pull request to this file, in Markdown: comment.md.",
            ),
            click.option(
                "--annotate",
                metavar="FORMAT",
                multiple=True,
                type=Format(),
                envvar="RUSHHOUR_ANNOTATE",
                show_envvar=True,
                help="Write findings with their lines for a CI server: github, gitlab (as code quality), "
                "sarif, or none; gitlab and sarif take a file, as in sarif=rushhour.sarif. May be given "
                "several times. On GitHub Actions and GitLab CI it is on without being asked for.",
            ),
        ):
            decorated = option(decorated)
        return decorated

    return decorate


def _echo(line: str, *, stderr: bool) -> None:
    stream = sys.stderr if stderr else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo(line.encode(encoding, "replace").decode(encoding), err=stderr)
