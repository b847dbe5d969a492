"""How long the report of a big run takes: to judge and write it, and to open it in Chromium.

The run has a hundred endpoints and an hour of seconds. Another one is judged that has as many rows as a
million customers of two hundred workers make: each second 200 of requests and 200 of the workers themselves.
A page is open when its timeline is drawn; the time is that of the browser's own clock, from the start of the
navigation.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from benchmarks.big_run import ENDPOINTS, SECONDS, write_big_run
from benchmarks.interval import median_of
from benchmarks.table import Row
from benchmarks.usage import end_of

CHROMIUM: Final = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS: Final = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
OPEN_BOUND_S: Final = 2.0
MOST_MB: Final = 5.0
ROUNDS: Final = 6
READY_MS: Final = 60_000
ROWS, WORKERS = 200, 200
WHAT: Final = f"{ENDPOINTS} endpoints, {SECONDS / 3600:g} h of seconds"
# Keeps the moment at which the page marks its timeline as drawn, on the clock of the navigation.
NOTE_READY: Final = """
new MutationObserver((_, observer) => {
  if (document.getElementById("timeline")?.dataset.ready === "yes") {
    window.readyMs = performance.now(); observer.disconnect();
  }
}).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ["data-ready"]})
"""


def run() -> list[Row]:
    """Measure for about three minutes."""
    with tempfile.TemporaryDirectory() as folder:
        many = write_big_run(Path(folder) / "many", endpoints=ROWS, workers=WORKERS).path
        of_many = f"{ROWS} rows of requests a second, {WORKERS} workers, {SECONDS / 3600:g} h of seconds"
        rows = _judged(many, of_many)
        shutil.rmtree(many)
        path = write_big_run(Path(folder) / "run").path
        rows += _judged(path, WHAT)
        return [*rows, _opened(path / "report.html")]


def _judged(path: Path, what: str) -> list[Row]:
    """Judge a run, and look at its page."""
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "rushhour", "judge", str(path)], stdout=subprocess.DEVNULL
    ) as judge:
        used = end_of(judge)
    if judge.returncode:
        raise RuntimeError(f"rushhour judge: exit {judge.returncode}")
    judged_s = time.monotonic() - began
    size_mb = (path / "report.html").stat().st_size / 1e6
    return [
        Row(
            f"judging a run of {what}",
            f"{judged_s:.0f} s, {used.cpu_s:.0f} s of CPU, {used.peak_mb:,.0f} MB of memory",
            "",
            None,
        ),
        Row(f"its report.html, {what}", f"{size_mb:.1f} MB", f"<= {MOST_MB:g} MB", size_mb <= MOST_MB),
    ]


def _opened(page: Path) -> Row:
    name = f"opening it in Chromium, {WHAT}"
    if CHROMIUM is None:
        return Row(name, "not measured: no Chromium", f"<= {OPEN_BOUND_S:g} s", None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        took_s = [_open_s(browser, page) for _ in range(ROUNDS)]
        browser.close()
    return median_of(took_s).in_seconds(name, most_s=OPEN_BOUND_S)


def _open_s(browser: Browser, page: Path) -> float:
    """Return the seconds from the start of the navigation until the timeline is drawn."""
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 1500})
    try:
        opened = context.new_page()
        opened.add_init_script(NOTE_READY)
        opened.goto(page.as_uri())
        opened.locator("#timeline[data-ready=yes]").wait_for(timeout=READY_MS)
        took_ms: float = opened.evaluate("window.readyMs")
        return took_ms / 1000
    finally:
        context.close()
