"""Tests of the report of an hour of load on a hundred endpoints: its size, its numbers, and its page."""

import subprocess
import sys

import pytest
from playwright.sync_api import sync_playwright

from benchmarks.big_run import (
    ENDPOINTS,
    PEAK_IN_USE,
    PEAK_S,
    SECONDS,
    START_S,
    VALUES,
    WARM_UP_S,
    write_big_run,
)
from rushhour.rundir import RunDir
from tests.integration.test_report_browser import CHROMIUM, FLAGS, PANELS, opening

pytestmark = pytest.mark.long

MOST_BYTES = 5_000_000
MOST_MEMORY_MB = 700
KIB = 1024
# Started from a small process, for the memory of who starts a process counts as that process's own.
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, float]:
    """Return the run, judged by the command, and how much memory the command took, in MB."""
    run = write_big_run(tmp_path_factory.mktemp("big") / "run")
    judge = [sys.executable, "-m", "rushhour", "judge", str(run.path)]
    measured = [sys.executable, "-c", MEASURED, *judge]
    done = subprocess.run(measured, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return run, int(done.stdout.splitlines()[-1]) / KIB


def test_the_report_is_small_and_its_numbers_are_whole(judged: tuple[RunDir, float]) -> None:
    run, memory_mb = judged
    verdict = run.read_json("verdict.json")
    seconds = range(START_S + WARM_UP_S, START_S + SECONDS)
    failed = len([second for second in seconds if second % 7 == 0]) * VALUES
    assert verdict["metrics"]["requests"] == len(seconds) * ENDPOINTS * VALUES + failed
    assert verdict["metrics"]["http_5xx"] == failed
    assert len(verdict["endpoints"]) == ENDPOINTS
    page = run.file("report.html")
    assert page.stat().st_size <= MOST_BYTES
    text = page.read_text(encoding="utf-8")
    assert [name for name in verdict["endpoints"] if f"<td>{name}</td>" not in text] == []
    assert memory_mb < MOST_MEMORY_MB


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install chromium or set CHROMIUM to its path")
def test_the_page_draws_a_peak_of_a_tenth_of_a_second(judged: tuple[RunDir, float]) -> None:
    page = judged[0].file("report.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for opened in opening(browser, page):
            lines = opened.lines()
            assert len(lines) == PANELS
            assert [at for at, drawn in enumerate(lines) if "L" not in drawn and "V" not in drawn] == []
            in_use = opened.page.evaluate(
                "JSON.parse(document.getElementById('timeline-data').textContent).panels"
                ".find(panel => panel.key === 'pool-replica').series.find(each => each.name === 'in use')"
            )
            at_peak = [v for t, v in zip(in_use["t"], in_use["v"], strict=True) if abs(t - PEAK_S) < 0.01]
            assert at_peak
            assert at_peak[0] >= PEAK_IN_USE
        browser.close()
