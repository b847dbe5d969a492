"""Exports of a real incident -> timelines: our CSV, and what CloudWatch and Grafana export.

A CSV has a header and a column of times: `t_s` (seconds), or ISO timestamps under any other name. Columns
are our metrics, or series of which a `names:` file or the shipped names say what they stand for. Counts are
of the time until the next row. An empty cell is unknown, but for metrics that are reported only where they
are not zero.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_args

from rushhour.alarms.formats.names import CLOUDWATCH, Names, StandsFor
from rushhour.alarms.moments import epoch_of
from rushhour.alarms.timeline import COUNTS, METRICS, Metric, Timeline, spoken
from rushhour.errors import UsageError
from rushhour.process.regular import read_at_most

MOST: Final = 1e15  # no count of requests is larger, and sums of larger ones are not exact
MAX_SECONDS: Final = 31 * 86_400
MAX_BYTES: Final = 50_000_000
MAX_TOLD: Final = 20  # problems of one file
COARSE_S: Final = 60  # rows of more than this say too little of when in them requests failed
TIME: Final = "t_s"
_HEADS: Final = 20  # rows that CloudWatch's console writes before its data, at most


@dataclass(frozen=True, slots=True)
class Column:
    """Which column holds a metric of ours, and how its values become ours."""

    index: int
    metric: str
    times: float = 1.0
    empty: float | None = None

    def value(self, text: str) -> float | None:
        """Raises ValueError for what is not a number of 0 or more."""
        if not text.strip() or text.strip().lower() in ("null", "nan", "undefined"):
            return self.empty
        number = float(text)
        if not 0 <= number < MOST:
            raise ValueError(text)
        return number / self.times


@dataclass(frozen=True, slots=True)
class Row:
    """The values of a time; `line` is where they stand."""

    t_s: float
    line: int
    values: Mapping[str, float | None]


def of_export(
    path: Path, names: Names | None = None, since: float | None = None, until: float | None = None
) -> Timeline:
    """Read a CSV, or the JSON of `aws cloudwatch get-metric-data`, from `since` to `until` (epoch seconds).

    Raises UsageError with every line that cannot be read.
    """
    mapped = names or Names()
    text = _text(path)
    if text.lstrip()[:1] == "{":
        rows, wall, problems = _metric_data(path, text, mapped)
    else:
        rows, wall, problems = _csv(path, text, mapped)
    if problems:
        more = [f"... and {len(problems) - MAX_TOLD} more"] * (len(problems) > MAX_TOLD)
        raise UsageError(problems[:MAX_TOLD] + more)
    if (since is not None or until is not None) and not wall:
        raise UsageError([f"{path}: --since and --until need timestamps, and its times are seconds ({TIME})"])
    kept = [row for row in rows if (since or 0) <= row.t_s < (math.inf if until is None else until)]
    if len(kept) < 2:
        of = f" of {len(rows)} from --since to --until" if len(kept) < len(rows) else ""
        raise UsageError([f"{path}: needs two rows or more, and has {len(kept)}{of}"])
    return _timeline(path, kept, wall)


def of_csv(path: Path) -> Timeline:
    """Read a CSV as `of_export` does, with the shipped names alone."""
    return of_export(path)


def _text(path: Path) -> str:
    try:
        return read_at_most(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError([f"{path}: cannot be read: {error}"]) from None


def _csv(path: Path, text: str, names: Names) -> tuple[list[Row], bool, list[str]]:
    """Return its rows, whether its times are moments, and what is wrong with it."""
    lines = text.splitlines()
    skip = 1 if lines and lines[0].lower().startswith("sep=") else 0
    between = lines[0][4:5] if skip else _separator(lines)
    try:
        table = list(csv.reader(lines[skip:], delimiter=between or ","))
    except csv.Error as error:
        return [], False, [f"{path}: cannot be read: {error}"]
    heads = next((at for at, row in enumerate(table[:_HEADS]) if row and _is_data(row)), 1)
    if not table or heads == 0:
        return [], False, [f"{path}:1: has no header"]
    at_time = next((at for row in table[:heads] for at, cell in enumerate(row) if cell.strip() == TIME), None)
    wall = at_time is None
    columns, problems = _columns(path, table[:heads], at_time or 0, names, skip + heads)
    if problems:
        return [], wall, problems
    rows: list[Row] = []
    for line, row in enumerate(table[heads:], skip + heads + 1):
        if not any(cell.strip() for cell in row):
            continue
        found, wrong = _row(row, line, at_time, len(table[heads - 1]), columns)
        rows.append(found)
        problems += [f"{path}:{line}: {what}" for what in wrong]
    if not problems and len(rows) > 1 and rows[0].t_s > rows[-1].t_s:
        rows.reverse()  # the newest first
    problems += [
        f"{path}:{now.line}: its time does not come after that of line {before.line}"
        for before, now in pairwise(rows)
        if now.t_s <= before.t_s and not math.isnan(now.t_s)
    ]
    return rows, wall, problems


def _separator(lines: Sequence[str]) -> str:
    head = lines[0] if lines else ""
    return max(",;\t", key=head.count)


def _is_data(row: Sequence[str]) -> bool:
    """Return whether a row's first cell is a time."""
    text = row[0].strip()
    try:
        epoch_of(text)
    except ValueError:
        try:
            float(text)
        except ValueError:
            return False
    return True


def _columns(
    path: Path, heads: Sequence[Sequence[str]], at_time: int, names: Names, line: int
) -> tuple[list[Column], list[str]]:
    found: list[Column] = []
    problems: list[str] = []
    for at in range(max(map(len, heads))):
        cells = [row[at].strip() for row in heads if at < len(row)]
        if at == at_time or not any(cells):
            continue
        column = next((item for cell in cells if (item := _column(at, cell, names))), None)
        if column is None:
            problems.append(
                f"{path}:{line}: unknown column {cells[-1]!r}; known: {TIME}, {', '.join(METRICS)}; map it "
                f"in {names.place}: `names: {{ '{cells[-1]}': http_5xx }}`"
            )
        elif any(item.metric == column.metric for item in found):
            problems.append(f"{path}:{line}: two columns hold {column.metric}")
        else:
            found.append(column)
    if not problems and not any(item.metric == "http_5xx" for item in found):
        problems.append(f"{path}:{line}: column http_5xx is missing")
    return found, problems


def _column(at: int, cell: str, names: Names) -> Column | None:
    if cell in METRICS:
        return Column(at, cell)
    stands = names.names.get(cell) or _shipped(cell)
    if stands is None or stands.metric not in get_args(Metric) or stands.part_of:
        return None
    return Column(at, stands.metric, stands.times, 0.0 if stands.gaps == "missing" else None)


def _shipped(cell: str) -> StandsFor | None:
    """Return what a metric of CloudWatch stands for, by its name or by a label that holds its name."""
    words = cell.replace("•", " ").replace("/", " ").split()
    return next((item for name, item in CLOUDWATCH.items() if name.rpartition("/")[2] in words), None)


def _row(
    cells: Sequence[str], line: int, at_time: int | None, width: int, columns: Sequence[Column]
) -> tuple[Row, list[str]]:
    """Return a row, and what is wrong with it."""
    if len(cells) != width or any(column.index >= width for column in columns):
        return Row(math.nan, line, {}), ["it has not as many cells as the header"]
    wrong: list[str] = []
    t_s = _moment(cells[at_time or 0], at_time is None)
    if isinstance(t_s, str):
        wrong.append(t_s)
        t_s = math.nan
    values: dict[str, float | None] = {}
    for column in columns:
        try:
            values[column.metric] = column.value(cells[column.index])
        except ValueError:
            wrong.append(f"{column.metric} {cells[column.index]!r} is not a number of 0 or more")
    if (values.get("pool_in_use") or 0.0) > 1:
        wrong.append(
            f"pool_in_use {values['pool_in_use']:g} is more than 1, the whole pool; map a percentage by "
            "`names: { NAME: { metric: pool_in_use, times: 100 } }`"
        )
    return Row(t_s, line, values), wrong


def _moment(text: str, wall: bool) -> float | str:
    """Return a row's time, or what is wrong with it."""
    if not text.strip():
        return "its time is empty" if wall else f"{TIME} is empty"
    try:
        found = epoch_of(text) if wall else float(text)
    except ValueError as error:
        return str(error) if wall else f"{TIME} {text!r} is not a number of 0 or more"
    return found if 0 <= found < math.inf else f"{TIME} {text!r} is not a number of 0 or more"


def _metric_data(path: Path, text: str, names: Names) -> tuple[list[Row], bool, list[str]]:
    """Read `aws cloudwatch get-metric-data`: a list of results with timestamps and values."""
    try:
        answer = json.loads(text)
        results = answer["MetricDataResults"]
        if problems := _parts(path, answer):
            return [], True, problems
        series = {str(item.get("Label") or item["Id"]): item for item in results}
        cells = {
            name: list(zip(item["Timestamps"], item["Values"], strict=True)) for name, item in series.items()
        }
        values = {
            name: {epoch_of(str(at)): float(value) for at, value in given} for name, given in cells.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        return [], True, [f"{path}:1: is neither a CSV nor what `get-metric-data` prints ({what})"]
    columns, problems = _columns(path, [["time", *values]], 0, names, 1)
    moments = sorted({at for given in values.values() for at in given})
    of = list(values.values())
    rows = [
        Row(at_s, 1, {item.metric: item.value(str(of[item.index - 1].get(at_s, ""))) for item in columns})
        for at_s in moments
    ]
    return rows, True, problems


def _parts(path: Path, answer: Mapping[str, Any]) -> list[str]:
    """Return why the answer is a part of what was asked, or two series of it are one here."""
    problems = []
    if answer.get("NextToken"):
        problems.append(f"{path}:1: is a part of an answer: its NextToken asks for the rest")
    names = [str(item.get("Label") or item["Id"]) for item in answer["MetricDataResults"]]
    for at, item in enumerate(answer["MetricDataResults"]):
        if item.get("StatusCode", "Complete") != "Complete":
            problems.append(f"{path}:1: {names[at]} is not complete: its StatusCode is {item['StatusCode']}")
        if names[at] in names[:at]:
            problems.append(f"{path}:1: two results are called {names[at]}; give each a Label of its own")
    return problems


def _timeline(path: Path, rows: Sequence[Row], wall: bool) -> Timeline:
    starts = [round(row.t_s) for row in rows]
    zero, steps = starts[0], [max(1, after - at) for at, after in pairwise(starts)]
    steps.append(steps[-1])
    seconds = starts[-1] - zero + steps[-1]
    if seconds > MAX_SECONDS:
        raise UsageError(
            [f"{path}: {seconds / 86_400:.0f} days from first to last; {MAX_SECONDS // 86_400} are the most"]
        )
    spans = [(row, at - zero, step) for row, at, step in zip(rows, starts, steps, strict=True)]
    words = (f"{path.name}: {seconds:,} s",)
    begins = float(zero) if wall else None
    even = Timeline({name: _spread(name, spans, seconds, at_once=False) for name in METRICS}, words, begins)
    coarse = max((step for row, _, step in spans if row.values.get("http_5xx")), default=0)
    if coarse <= COARSE_S:
        return even
    at_once = Timeline({name: _spread(name, spans, seconds, at_once=True) for name in METRICS}, words, begins)
    why = f"a row of the export lasts {spoken(coarse)}"
    return Timeline(even.series, words, begins, at_once, why)


def _spread(
    name: str, spans: Sequence[tuple[Row, int, int]], seconds: int, *, at_once: bool
) -> tuple[float | None, ...]:
    """Spread counts in whole numbers over their row, the last at its end, where the system saw all of it.

    With `at_once` all of a row's failures come at its end.
    """
    values: list[float | None] = [None] * seconds
    for row, start, step in spans:
        value = row.values.get(name)
        if value is None:
            continue
        for k in range(step):
            share = int(value * (k + 1) / step) - int(value * k / step)
            if at_once and name != "requests":
                share = int(value) if k == step - 1 else 0
            values[start + k] = float(share) if name in COUNTS else value
    return tuple(values)
