"""The edge to `promtool`: rule files evaluated by Prometheus's own engine, in virtual time.

`promtool test rules` compares what an expression gives with what a test expects. Every test here expects
nothing of ALERTS{alertstate="firing"}, so each moment with an alert is reported as a failed test.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from rushhour.alarms.alertmanager import Labels

TIMEOUT_S: Final = 120.0
CHECK_TIMEOUT_S: Final = 20.0
FIRING: Final = 'ALERTS{alertstate="firing"}'
MISSING: Final = (
    "promtool is not on PATH, and nothing else may say what a rule does: install Debian's package "
    "prometheus, or run `make alert-tools`"
)
_UNITS_MS: Final = {
    "y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1,
}  # fmt: skip
_DURATION: Final = re.compile(r"([0-9]{1,18})(ms|[ywdhms])")
_WHOLE_DURATION: Final = re.compile(
    "".join(
        ["(?=[0-9])", *(f"([0-9]{{1,12}}{unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms")), "$|0$"]
    )
)
_LABEL: Final = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')
_SAMPLE: Final = re.compile(r'\{(?:[A-Za-z_]\w*="(?:[^"\\]|\\.)*"(?:, ?)?)+\} ')
_TIME: Final = re.compile(r'^\s*expr: "(?:[^"\\]|\\.)*", time: (\S+),')
_NOISE: Final = re.compile(r"^\s*(Unit Testing: .*|FAILED:|SUCCESS|name: .*|exp: ?nil|expr: .*|got:.*)?$")
_TOLD: Final = 5  # lines of promtool's complaint


class PromtoolError(Exception):
    """promtool is missing, refused, or took too long; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Series:
    """One input series: its name with labels, and its samples in promtool's notation."""

    name: str
    values: str


@dataclass(frozen=True, slots=True)
class Question:
    """Rule files (their texts) over series; asked at each evaluation from `from_ms` to `to_ms`."""

    rules: tuple[str, ...]
    series: tuple[Series, ...]
    scrape_ms: int
    evaluation_ms: int
    from_ms: int
    to_ms: int


def find_promtool() -> str | None:
    """Return the program's path; None where there is none."""
    return shutil.which("promtool")


def check_rules(path: Path) -> list[str]:
    """Return what promtool says is wrong with a rule file, with lines; nothing where there is no promtool."""
    tool = find_promtool()
    if tool is None:
        return []
    done = _run([tool, "check", "rules", str(path)], CHECK_TIMEOUT_S)
    if done.returncode == 0:
        return []
    printed = [line.strip() for line in (done.stderr + done.stdout).splitlines()]
    heads = ("Checking ", "FAILED:", "SUCCESS")
    wrong = [
        line
        for line in printed
        if line and not line.startswith(heads) and not line.endswith("unmarshal errors:")
    ]
    return [_located(path, line) for line in wrong] or [f"{path}: promtool refuses it: {printed}"]


def refused(text: str) -> str:
    """Return what promtool says is wrong with a rule file's text; "" for nothing, or without promtool."""
    with _folder() as folder:
        file = folder / "rules.yml"
        file.write_text(text, encoding="utf-8")
        found = [problem.rpartition(f"{file}:")[2].strip() for problem in check_rules(file)]
    return "; ".join(found)


def _located(path: Path, line: str) -> str:
    """Return a problem as FILE:LINE, from `FILE: LINE:COLUMN: what` or `FILE: yaml: line 3: what`."""
    words = line.removeprefix(f"{path}: ")
    if at := re.match(r"(\d+):(\d+): (.*)", words):
        return f"{path}:{at[1]}: {at[3]}"
    if at := re.search(r"line (\d+): (.*)", words):
        return f"{path}:{at[1]}: {at[2]}"
    return f"{path}: {words}"


def firing(question: Question) -> tuple[tuple[int, frozenset[Labels]], ...]:
    """Return (milliseconds, the alerts that fire) for each evaluation with any. Raises PromtoolError."""
    tool = find_promtool()
    if tool is None:
        raise PromtoolError(MISSING)
    return _evaluated(tool, question)


@lru_cache(maxsize=32)  # an audit, its advice and a gate ask the same
def _evaluated(tool: str, question: Question) -> tuple[tuple[int, frozenset[Labels]], ...]:
    with _folder() as folder:
        for number, text in enumerate(question.rules):
            (folder / f"rules-{number}.yml").write_text(text, encoding="utf-8")
        test = folder / "test.json"  # JSON is YAML
        test.write_text(json.dumps(_document(question)), encoding="utf-8")
        done = _run([tool, "test", "rules", str(test)], TIMEOUT_S)
    return _parsed(done)


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield a folder for promtool's files. Raises PromtoolError where they cannot be written."""
    try:
        with tempfile.TemporaryDirectory(prefix="rushhour-promtool-") as name:
            yield Path(name)
    except OSError as error:
        raise PromtoolError(
            f"files for promtool cannot be written below {tempfile.gettempdir()}: {error.strerror}; free "
            "space there, or name another folder in TMPDIR"
        ) from None


def _document(question: Question) -> dict[str, object]:
    moments = range(question.from_ms, question.to_ms + 1, question.evaluation_ms)
    return {
        "rule_files": [f"rules-{number}.yml" for number in range(len(question.rules))],
        "evaluation_interval": f"{question.evaluation_ms}ms",
        "tests": [
            {
                "interval": f"{question.scrape_ms}ms",
                "input_series": [
                    {"series": sample.name, "values": sample.values} for sample in question.series
                ],
                "promql_expr_test": [{"expr": FIRING, "eval_time": f"{at_ms}ms"} for at_ms in moments],
            }
        ],
    }


def _run(command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise PromtoolError(
            f"`{' '.join(command[:3])}` had not ended after {timeout_s:g} s: audit a shorter timeline, or "
            "set a longer evaluation_interval"
        ) from None
    except OSError as error:
        raise PromtoolError(f"{command[0]} cannot be started: {error}") from None


def _parsed(done: subprocess.CompletedProcess[str]) -> tuple[tuple[int, frozenset[Labels]], ...]:
    if done.returncode == 0:
        return ()
    lines = (done.stdout + "\n" + done.stderr).splitlines()
    found: dict[int, frozenset[Labels]] = {}
    at_ms: int | None = None
    for line in lines:
        if moment := _TIME.match(line):
            at_ms = milliseconds(moment[1])
        elif line.lstrip().startswith("got:") and at_ms is not None:
            alerts = frozenset(_labels(sample) for sample in _SAMPLE.findall(line))
            if alerts:
                found[at_ms] = alerts
    # A test that failed says what it expected and got; every other line is a complaint.
    wrong = [line.strip() for line in lines if not _NOISE.match(line)]
    if wrong or not found:
        raise PromtoolError(f"promtool could not evaluate the rules: {' '.join(wrong[:_TOLD]) or lines}")
    return tuple(sorted(found.items()))


def _labels(sample: str) -> Labels:
    return tuple(
        sorted(
            (name, json.loads(f'"{value}"'))
            for name, value in _LABEL.findall(sample)
            if name not in ("__name__", "alertstate")
        )
    )


def is_duration(given: object) -> bool:
    """Return whether this is a duration in Prometheus's notation, `1d2h15s`, or 0."""
    return _WHOLE_DURATION.match(str(given)) is not None


def milliseconds(text: str) -> int:
    """Parse a duration in Prometheus's notation, `1d2h15s`."""
    return sum(int(number) * _UNITS_MS[unit] for number, unit in _DURATION.findall(text))
