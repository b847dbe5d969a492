"""Writes what a search found into its folder: capacity.json, the page, summary.md and junit.xml."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from junitparser import TestCase

from rushhour.jobs.archive.directories import SEARCH_FILE
from rushhour.jobs.capacity.again import knee_again
from rushhour.jobs.capacity.facts import SEARCHES, Search
from rushhour.jobs.capacity.page import render_search
from rushhour.jobs.capacity.words import HEADS, Verdict, first_limit, meaning, rows, sentence
from rushhour.report.junit import junit_document, set_result
from rushhour.report.markdown import SIGN, text
from rushhour.report.words import clean
from rushhour.rundir import RunDir
from rushhour.rundir.directory import json_text, write_whole

PAGE: Final = "capacity.html"
STEPS: Final = "steps"  # the folder of the steps' run directories

Judged = tuple[Search, Verdict, str]  # a search, its verdict and the reason


def write_all(folder: RunDir, judged: Sequence[Judged]) -> Path:
    """Write every form of the searches, and return the page."""
    searches = [search for search, _, _ in judged]
    cases = []
    for search, verdict, why in judged:
        case = TestCase(f"{clean(search.scenario)} (release {clean(search.release)})")
        case.classname = "rushhour.capacity"
        set_result(case, verdict, why, search.knee.kind, "\n".join([sentence(search), *_paragraphs(search)]))
        cases.append(case)
    page = folder.file(PAGE)
    files = {
        folder.file(SEARCH_FILE): json_text(as_objects(judged)),
        page: render_search(searches, [(verdict, why) for _, verdict, why in judged]),
        folder.file("summary.md"): _markdown(judged),
        folder.file("junit.xml"): junit_document("rushhour capacity", cases),
    }
    write_whole(files)
    return page


def as_objects(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return the searches for programs: an object for each."""
    found = []
    for search, verdict, why in judged:
        [plain] = SEARCHES.dump_python((search,), mode="json")
        limit = first_limit(search)
        first = None if limit is None else {"sentence": limit.sentence, "evidence": list(limit.evidence)}
        found.append(
            {
                "verdict": verdict,
                "reason": why,
                "sentence": sentence(search),
                "confirmed": search.knee.confirmed,
                "again": knee_again(search),
                "first": first,
                **plain,
            }
        )
    return found


def _markdown(judged: Sequence[Judged]) -> str:
    lines: list[str] = []
    for search, verdict, why in judged:
        lines += [f"## {SIGN[verdict]} {text(sentence(search))}", ""]
        lines += [text(why), ""] if why != sentence(search) else []
        for part in _paragraphs(search):
            lines += [text(part), ""]
        lines += [f"| {' | '.join(HEADS)} |", f"|{' --- |' * len(HEADS)}"]
        lines += [f"| {' | '.join(text(cell) for cell in row)} |" for row in rows(search)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _paragraphs(search: Search) -> list[str]:
    limit = first_limit(search)
    parts = [meaning(search)]
    if limit is not None:
        parts += [limit.sentence, *(f"- {evidence}" for evidence in limit.evidence), limit.behind]
    return [part for part in parts if part]
