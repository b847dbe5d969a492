"""Annotations of what `pytest --pool-leaks` saw."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rushhour.jobs.annotate.annotation import Annotation, Fact, Outcome, Result, annotation
from rushhour.jobs.annotate.collect import Annotations
from rushhour.jobs.annotate.formats import Formats
from rushhour.jobs.annotate.repository import Repository, repository
from rushhour.jobs.annotate.rules import NOT_RETURNED, UNKNOWN
from rushhour.jobs.attach.pytest_summary import Seen
from rushhour.jobs.check.summary import FIX
from rushhour.metrics.wording import counted
from rushhour.rundir.facts import CallSite

NAME: Final = "pytest --pool-leaks"
_TESTS: Final = 5  # named in an annotation


def annotate(formats: Formats, seen: Seen, root: Path, write_line: Callable[[str], None]) -> None:
    """Write the annotations of a session; `root` is pytest's, to which names of files are shortened."""
    annotations = Annotations(formats, write_line, write_line)
    doubts = seen.doubts()
    verdict: Result = "fail" if seen.leaked_tests else "unknown" if doubts else "pass"
    with annotations.written_at_end(NAME):
        found = [*_leaks(seen, root, repository(root))]
        if doubts:
            found.append(annotation("warning", UNKNOWN, f"{NAME}: unknown", doubts, None, [NAME]))
        annotations.add(Outcome(NAME, verdict, seen.lines()[0]), found)


def _leaks(seen: Seen, root: Path, lines: Repository) -> Iterator[Annotation]:
    by_site: dict[tuple[str, CallSite], list[Mapping[str, Any]]] = {}
    for leak in seen.leaks:
        by_site.setdefault((leak["what"], CallSite(*leak["sites"][0])), []).append(leak)
    for (what, site), leaks in by_site.items():
        callers = [f"{file}:{line} {function}" for file, line, function in leaks[0]["sites"][1:]]
        short = [caller.removeprefix(f"{root}/") for caller in callers]
        file = site.file.removeprefix(f"{root}/")
        tests = [*dict.fromkeys(leak["test"] for leak in leaks)]
        more = f" and {len(tests) - _TESTS} more" if len(tests) > _TESTS else ""
        said = [
            (
                f"{counted(len(leaks), 'connection')} {what} after the test, taken at "
                f"{file}:{site.line} {site.function}"
            ),
            *(f"called from {caller}" for caller in short),
            f"in {', '.join(tests[:_TESTS])}{more}",
            FIX,
        ]
        facts = [Fact("connections", str(len(leaks))), Fact("tests", str(len(tests)))]
        title = f"{NAME}: connection not returned"
        yield annotation("error", NOT_RETURNED, title, said, lines.spot(site, callers), [what], facts)
