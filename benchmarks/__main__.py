"""`make bench`: every claim about speed, measured now on this machine, as one table."""

import importlib
import sys

from benchmarks.table import Row

MODULES = (
    "agent",
    "matrix",
    "live_checkouts",
    "recorder",
    "workers",
    "master",
    "arrivals",
    "generator",
    "seeding",
    "stack",
    "check",
    "detection",
    "compose",
    "alarms",
    "memory",
    "report",
    "forecast",
    "traffic",
    "traffic-read",
    "traffic-memory",
)
LONG = ("capacity",)  # a quarter of an hour and more: measured only when named


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; exit code 1 when a bound was missed, 64 for an unknown name.

    A colon separates a benchmark from its arguments: `generator:20000`.
    """
    known = (*MODULES, *LONG)
    if unknown := [name for name in names if name.partition(":")[0] not in known]:
        print(f"no benchmark {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 64
    rows: list[Row] = []
    for name in names or MODULES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        module, _, argument = name.replace("-", "_").partition(":")
        rows += importlib.import_module(f"benchmarks.{module}").run(*filter(None, [argument]))
    widths = [max(len(text) for text in column) for column in zip(*map(cells, rows), strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(cells(row), widths, strict=True)).rstrip())
    return int(any(row.ok is False for row in rows))


def cells(row: Row) -> tuple[str, str, str, str]:
    """A row as text: verdict, name, figure, bound."""
    return {True: "met", False: "MISSED", None: "-"}[row.ok], row.name, row.measured, row.bound


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
