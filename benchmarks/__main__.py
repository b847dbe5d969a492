"""`make bench`: every claim about speed, measured now on this machine, as a table of each benchmark."""

import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from benchmarks.harness import NotMeasuredError
from benchmarks.table import Row

# The benchmarks in their order, with the arguments that they take behind a colon: `generator:20000`.
BENCHMARKS: Final = {
    "agent": "",
    "matrix": "",
    "live-checkouts": "",
    "recorder": "",
    "workers": "",
    "master": "WORKERS[,SECONDS]",
    "arrivals": "",
    "generator": "CUSTOMERS[,...]",
    "seeding": "",
    "stack": "",
    "check": "",
    "detection": "",
    "compose": "",
    "alarms": "",
    "memory": "",
    "report": "",
    "forecast": "FOLDER",
    "traffic": "",
    "traffic-read": "",
    "traffic-memory": "GIGABYTES[,GIGABYTES]",
}
LONG: Final = {"capacity": ""}  # a quarter of an hour and more: measured only when named
KNOWN: Final = BENCHMARKS | LONG
MET, MISSED, UNKNOWN, BAD_USAGE = 0, 1, 2, 64


class Asked(NamedTuple):
    """A benchmark, and what its `run` is called with."""

    name: str
    module: Any
    arguments: Sequence[object]


def main(words: list[str]) -> int:
    """Run the named benchmarks, or all.

    The exit code is 1 when a bound was missed, or a benchmark ended with an error or without a row; 2 when of
    a bound it is not known; and 64 for a wrong name or argument, when nothing is measured.
    """
    asked, problems = read(words or list(BENCHMARKS))
    if problems:
        names = (f"{name}[:{takes}]" if takes else name for name, takes in KNOWN.items())
        print(*problems, f"known: {', '.join(names)}", sep="\n", file=sys.stderr)
        return BAD_USAGE
    missed: list[str] = []
    unsure: list[str] = []
    missing: list[str] = []
    for name, module, arguments in asked:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows = measured(name, module, arguments)
        widths = [max(len(text) for text in column) for column in zip(*map(cells, rows), strict=True)]
        for row in rows:
            line = "  ".join(text.ljust(width) for text, width in zip(cells(row), widths, strict=True))
            print(line.rstrip(), flush=True)
        missed += [row.name.strip() for row in rows if row.ok is False]
        unsure += [row.name.strip() for row in rows if row.unsure]
        missing += [row.name.strip() for row in rows if row.missing]
    if missing:
        print(f"not measured: {'; '.join(missing)}", file=sys.stderr)
    if unsure:
        print(f"unsure, the interval spans the bound: {'; '.join(unsure)}", file=sys.stderr)
    if missed:
        print(f"missed: {'; '.join(missed)}", file=sys.stderr)
    if missed:
        return MISSED
    return UNKNOWN if unsure or missing else MET


def read(words: Sequence[str]) -> tuple[list[Asked], list[str]]:
    """Return what is asked for, and what is wrong with it."""
    asked: list[Asked] = []
    problems: list[str] = []
    for word in words:
        name, colon, text = word.partition(":")
        name = name.replace("_", "-")
        if name not in KNOWN:
            problems.append(f"no benchmark {name!r}")
        elif colon and not KNOWN[name]:
            problems.append(f"{word}: {name} takes no argument")
        else:
            module: Any = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
            try:
                asked.append(Asked(name, module, module.arguments(text) if colon else ()))
            except ValueError as error:
                problems.append(f"{word}: {error}")
    return asked, problems


def measured(name: str, module: Any, arguments: Sequence[object]) -> list[Row]:
    """Return the rows of a benchmark, at least one; one that ends with an error is a row, too."""
    try:
        rows: list[Row] = module.run(*arguments) or [Row(name, "it measured nothing", "", ok=False)]
    except NotMeasuredError as error:
        rows = [Row(name, f"not measured: {error}", "all its bounds", None)]
    except Exception as error:  # noqa: BLE001  # whatever it is, it is printed, and the bound is missed
        traceback.print_exc()
        rows = [Row(name, f"ended with an error: {type(error).__name__}, see above", "", ok=False)]
    return rows


def cells(row: Row) -> tuple[str, str, str, str]:
    """A row as text: verdict, name, figure, bound."""
    verdict = "unsure" if row.unsure else {True: "met", False: "MISSED", None: "-"}[row.ok]
    return verdict, row.name, row.measured, row.bound


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
