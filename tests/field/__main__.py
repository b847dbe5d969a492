"""`make field`: services of many classes under load; is each said to be what it is?

    python -m tests.field [CASE ...] [--only broken,cured,no-agent] [--at-once 4] [--write-docs]

Exit codes: 0 no wrong name, and every twin healthy; 1 a wrong name, or a twin that is not healthy;
2 a run that could not be judged; 64 bad usage.
"""

import argparse
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.field.cases import CASES, Case
from tests.field.run import VARIANTS, FieldError, Said, Variant, environment_for, last_said, run_case
from tests.field.table import in_words, is_wrong, judged, origins, rows, twin_in_words, write_table
from tests.matrix.environments import ROOT

USAGE: Final = 64
PAGE: Final = ROOT / "docs" / "field.md"


def main(arguments: list[str]) -> int:
    """Runs what was asked for, prints a row per run as it goes, and writes the page's table if asked to."""
    known = {case.name: case for case in CASES}
    parser = argparse.ArgumentParser(prog="make field", description="field cases under load")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of: {', '.join(known)}")
    parser.add_argument("--only", default=",".join(VARIANTS), help="of broken,cured,no-agent")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "field")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"write the table of {PAGE.relative_to(ROOT)}"
    )
    parser.add_argument("--allow-busy", action="store_true", help="a twin may be unknown on a busy machine")
    parser.add_argument("--at-once", type=int, choices=range(1, 9), default=1, help="runs beside each other")
    options = parser.parse_args(arguments)
    variants = [name for name in VARIANTS if name in options.only.split(",")]
    problems = [
        f"no case {name!r}; there are {', '.join(known)}" for name in options.cases if name not in known
    ]
    problems += [
        f"--only: no {name!r}; there are {', '.join(VARIANTS)}"
        for name in options.only.split(",")
        if name not in VARIANTS
    ]
    if problems:
        sys.stderr.write("".join(f"make field: {problem}\n" for problem in problems))
        return USAGE
    chosen = [known[name] for name in options.cases] or list(CASES)
    for case in chosen:
        environment_for(case)
    with ThreadPoolExecutor(options.at_once) as threads:
        runs: list[tuple[Case, Variant]] = [(case, variant) for case in chosen for variant in variants]
        codes = list(
            threads.map(lambda run: _run(run[0], run[1], options.runs, allow_busy=options.allow_busy), runs)
        )
    if options.write_docs:
        seen = [
            (case, last_said(case, "broken"), last_said(case, "cured"), last_said(case, "no-agent"))
            for case in CASES
        ]
        write_table(PAGE, (*rows(seen), "", "### Where they come from", "", *origins(CASES)))
        sys.stdout.write(f"Table   {PAGE.relative_to(ROOT)}\n")
    return worst_of(codes)


def _run(case: Case, variant: Variant, runs: Path, *, allow_busy: bool) -> int:
    """One run, with its row; its exit code."""
    try:
        said = run_case(case, variant, runs / variant)
    except FieldError as error:
        sys.stdout.write(f"{case.name:16} {variant:9} {error}\n")
        return 2
    code = exit_code(case, variant, said)
    lines = [
        f"{case.name:16} {variant:9} {'/'.join(case.causes):32} {_judged(case, variant, said)}",
        *([f"  {said.reason}", f"  {said.summary}", f"  {said.run}"] if code else ()),
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    return 0 if code == 2 and allow_busy and said.busy else code


def worst_of(codes: Iterable[int]) -> int:
    """1, a wrong name, weighs more than 2, a run that could not be judged."""
    given = set(codes)
    return next((code for code in (1, 2) if code in given), 0)


def _judged(case: Case, variant: Variant, said: Said) -> str:
    if variant == "cured":
        return twin_in_words(said)
    lines = f", {len(said.named)} of {len(case.lines)} lines" if variant == "broken" else ""
    return f"{in_words(said):42} {judged(case, said) if variant == 'broken' else ''}{lines}"


def exit_code(case: Case, variant: Variant, said: Said) -> int:
    """0: nothing wrong is said. 1: a wrong name, or a twin that fails. 2: it could not be judged."""
    if variant == "cured":
        if said.broke or said.busy:  # without CPU any pool fills
            return 2
        if said.cause not in {"none", None} or said.verdict == "fail":
            return 1
        return 0 if said.verdict == "pass" else 2
    if is_wrong(case, said, agent=variant != "no-agent"):
        return 1
    return 2 if case.starts and (said.cause is None or said.broke) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
