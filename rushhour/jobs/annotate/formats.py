"""Which formats of annotations are written where: as asked, else as the CI server's environment says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.errors import UsageError

NONE: Final = "none"
FILES: Final = {"gitlab": "gl-code-quality-report.json", "sarif": "rushhour.sarif"}
FORMATS: Final = ("github", *FILES, NONE)
STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True, slots=True)
class Formats:
    """Where annotations go; None: not there."""

    github: bool = False  # workflow commands among the command's output
    gitlab: Path | None = None
    sarif: Path | None = None
    comment: Path | None = None
    step_summary: Path | None = None  # GitHub's file for the page of a step, to which the comment is added


def formats_of(asked: Sequence[str], comment: Path | None, environment: Mapping[str, str]) -> Formats:
    """Return what `--annotate` and `--comment` ask for; without `--annotate` what the CI server takes.

    Raises UsageError for an unknown format, one that is given twice, and a file that cannot be written.
    """
    problems = []
    files: dict[str, Path | None] = {}
    for text in asked or automatic(environment):
        name, equals, file = text.partition("=")
        if name not in FORMATS:
            problems.append(f"--annotate {text}: unknown format {name!r}; known: {', '.join(FORMATS)}")
        elif name in files:
            problems.append(f"--annotate {text}: {name} is given twice")
        elif equals and (name not in FILES or not file):
            hint = f"write {name}=FILE" if name in FILES else f"{name} writes no file"
            problems.append(f"--annotate {text}: {hint}")
        if name in FORMATS:
            files[name] = Path(file or FILES[name]) if name in FILES else None
    if NONE in files and len(files) > 1:
        problems.append(f"--annotate {NONE}: annotations are off, so no other format can be given")
    if asked:
        problems += [
            f"--annotate {name}: {problem}"
            for name, path in files.items()
            if path is not None and (problem := _unwritable(path))
        ]
    if comment is not None and (problem := _unwritable(comment)):
        problems.append(f"--comment {comment}: {problem}")
    if problems:
        raise UsageError(problems)
    summary = environment.get(STEP_SUMMARY) if "github" in files else None
    return Formats(
        github="github" in files,
        gitlab=files.get("gitlab"),
        sarif=files.get("sarif"),
        comment=comment,
        step_summary=Path(summary) if summary else None,
    )


def automatic(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the formats that a CI server takes by itself, as its environment says which it is."""
    found = []
    if environment.get("GITHUB_ACTIONS") == "true":
        found.append("github")
    if environment.get("GITLAB_CI") == "true":
        found.append("gitlab")
    return tuple(found)


def _unwritable(path: Path) -> str:
    """Say why a file cannot be written; empty if it can."""
    folder = path.absolute().parent
    if path.is_dir():
        return f"{path} is a folder; give the name of a file"
    if not folder.is_dir():
        return f"there is no folder {folder}; make it first"
    return ""
