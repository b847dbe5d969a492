"""Judges what was said of a case, and makes the rows of the tables."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rushhour.diagnosis.black_box import ALIKE
from tests.field.cases import Case
from tests.field.run import Said

BEGIN: Final = "<!-- table: python -m tests.field --write-docs -->"
END: Final = "<!-- end of table -->"
_NOT_MEASURED: Final = "not measured"


def is_wrong(case: Case, said: Said, *, agent: bool = True) -> bool:
    """Whether a broken service was given another name than its own.

    Without the agent, a name is right too whose summary says that the right one looks the same from outside.
    """
    if said.cause in {*case.causes, "none", None}:
        return False
    return agent or not ALIKE.get(said.cause or "", frozenset()) & set(case.causes)


def judged(case: Case, said: Said | None) -> str:
    """Of a broken service with the agent: right, less (a line is missing), open (no name), or wrong."""
    if said is None or (said.broke and case.starts):
        return _NOT_MEASURED
    if is_wrong(case, said):
        return "WRONG"
    if said.cause in {"none", None}:
        return "open"
    return "right" if len(said.named) == len(case.lines) else "less"


def in_words(said: Said | None) -> str:
    if said is None:
        return _NOT_MEASURED
    return "no diagnosis" if said.cause is None else f"{said.cause} ({said.confidence})"


def twin_in_words(said: Said | None) -> str:
    """Of the cured twin: healthy, or what is wrong with it."""
    if said is None:
        return _NOT_MEASURED
    if said.busy:
        return "not judged: the machine was busy"
    healthy = "healthy" if said.verdict == "pass" else said.verdict
    return healthy if said.cause == "none" else f"{healthy}, {in_words(said)}"


def rows(seen: list[tuple[Case, Said | None, Said | None, Said | None]]) -> Iterator[str]:
    """Of docs/field.md: each case, what was last said of it, of its twin, and without the agent."""
    yield "| case | expected | said | lines | judged | its cured twin | without the agent |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for case, broken, cured, bare in seen:
        lines = _NOT_MEASURED if broken is None else f"{len(broken.named)} of {len(case.lines)}"
        cells = (
            f"`{case.name}`",
            " or ".join(case.causes),
            in_words(broken),
            lines,
            judged(case, broken),
            twin_in_words(cured),
            in_words(bare),
        )
        yield f"| {' | '.join(cells)} |"


def origins(cases: Iterable[Case]) -> Iterator[str]:
    """Of docs/field.md: what each case is, its public reports, and what was said of it first."""
    yield "| case | what goes wrong | public reports | said first |"
    yield "| --- | --- | --- | --- |"
    for case in cases:
        reports = ", ".join(case.reports) or "none"
        yield f"| `{case.name}` | {case.description.rstrip('.')} | {reports} | {case.first} |"


def write_table(page: Path, lines: Iterable[str]) -> None:
    """Between the two marks of a page. Raises ValueError where they are missing."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page}: no {BEGIN!r} with a {END!r} behind it")
    page.write_text(
        before + BEGIN + "\n" + "\n".join(("", *lines, "")) + "\n" + END + after, encoding="utf-8"
    )
