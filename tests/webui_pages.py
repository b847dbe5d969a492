"""`rushhour ui` and a real Chromium before it, for the tests of either stack."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.free_ports import free_port

ROOT = Path(__file__).parents[1]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
READY_S, GONE_S, SEEN_MS = 120.0, 60.0, 120_000
expect.set_options(timeout=SEEN_MS)  # a page is as slow as what runs beside it

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: install chromium or set CHROMIUM to its path"
)

TINY = """
scenarios:
  tiny:
    release: "1.1"
    data: { size: tiny }
    pool: { size: 2, max_overflow: 1, timeout: 1s }
    service: { threads: 12 }
    load:
      { shape: steady, users: 60, spawn_rate: 60, duration: 600s, warm_up: 1s, think_time: 500ms,
        client_timeout: 5s, drain: 500ms }
    expect: exhausted
    cause: scope-never-removed
  other:
    extends: tiny
    load: { users: 7, spawn_rate: 3 }
"""


@contextmanager
def serving(
    folder: Path,
    *options: str,
    ends_by: signal.Signals = signal.SIGINT,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`rushhour ui` up to its page; ended with Ctrl-C, after which nothing answers there any more."""
    text = (ROOT / "scenarios.yaml").read_text(encoding="utf-8").partition("\nscenarios:")[0]
    text = text.replace("\n  name: referrals", f"\n  name: referrals\n  root: {ROOT}", 1)
    (folder / "scenarios.yaml").write_text(text + TINY, encoding="utf-8")
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "rushhour", "ui", "tiny", "--port", str(port), *options]
    command += ["--scenarios", str(folder / "scenarios.yaml"), "--runs", str(folder / "runs")]
    log = folder / "ui.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | (environment or {}),
        )
    try:
        deadline_s = time.monotonic() + READY_S
        while "Ctrl-C ends all of it." not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, f"no page after {READY_S:g} s: {log.read_text()}"
            time.sleep(0.1)
        yield url, process
    finally:
        process.send_signal(ends_by)
        code = process.wait(GONE_S)
    assert code == (130 if ends_by == signal.SIGINT else -ends_by), log.read_text()
    wait_until(lambda: not listens(port), GONE_S, "nothing to listen at its port")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], object], within_s: float, what: str) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {within_s:g} s for {what}"
        time.sleep(0.1)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def start(page: Page, release: str) -> None:
    page.locator('select[name="release"]').select_option(release)
    page.get_by_role("button", name=re.compile("^start", re.IGNORECASE)).click()
    expect(page.locator("#rushhour")).to_have_attribute("data-phase", "running")


def stop(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^stop$", re.IGNORECASE)).click()
    expect(page.locator("#rushhour")).to_have_attribute("data-phase", "ready")
