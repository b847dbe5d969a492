"""Runs from the browser: a real Chromium presses Start, watches the pool fill, stops, opens the report."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
READY_S, GONE_S, SEEN_MS = 60.0, 30.0, 30_000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install chromium or set CHROMIUM to its path"),
]

TINY = """
scenarios:
  tiny:
    release: "1.1"
    data: { size: tiny }
    pool: { size: 2, max_overflow: 1, timeout: 1s }
    service: { threads: 12 }
    load:
      { shape: steady, users: 60, spawn_rate: 60, duration: 60s, warm_up: 1s, think_time: 500ms,
        client_timeout: 5s, drain: 500ms }
    expect: exhausted
    cause: scope-never-removed
  other:
    extends: tiny
    load: { users: 7, spawn_rate: 3 }
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(folder: Path, *options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
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
            env=os.environ | environment,
        )
    try:
        deadline_s = time.monotonic() + READY_S
        while "Ctrl-C ends all of it." not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, f"no page after {READY_S:g} s: {log.read_text()}"
            time.sleep(0.1)
        yield url, process
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(GONE_S)
    assert code == 130, log.read_text()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=2)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def start(page: Page, release: str) -> None:
    page.locator('select[name="release"]').select_option(release)
    page.get_by_role("button", name=re.compile("^start", re.IGNORECASE)).click()
    expect(page.locator("#rushhour")).to_have_attribute("data-phase", "running", timeout=SEEN_MS)


def stop(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^stop$", re.IGNORECASE)).click()
    expect(page.locator("#rushhour")).to_have_attribute("data-phase", "ready", timeout=SEEN_MS)


def test_runs_start_and_stop_in_the_browser_and_each_is_judged(
    browser: Browser, cache: Path, tmp_path: Path
) -> None:
    with serving(tmp_path) as (url, _):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.locator('select[name="scenario"]').select_option("other")
        expect(page.locator('input[name="userCount"]')).to_have_value("7")
        page.locator('select[name="scenario"]').select_option("tiny")
        expect(page.locator('input[name="userCount"]')).to_have_value("60")
        start(page, "1.1")
        page.get_by_role("tab", name="Pool", exact=True).click()
        replica = page.locator("tr", has_text="replica")
        expect(replica).to_contain_text("100 %", timeout=SEEN_MS)
        live = browser.new_page()
        live.goto(f"{url}rushhour")
        expect(live.locator("#charts .plot")).to_have_count(6, timeout=SEEN_MS)
        expect(live.locator("#holders")).to_contain_text("list_referrals", timeout=SEEN_MS)
        stop(page)
        expect(page.locator("#rushhour-verdict")).to_contain_text("tiny (release 1.1)")
        report = browser.new_page()
        report.goto(url.rstrip("/") + str(page.locator("#rushhour-report").get_attribute("href")))
        expect(report.locator("h1")).to_contain_text("tiny (release 1.1)")
        page.get_by_role("button", name=re.compile("^new$", re.IGNORECASE)).click()
        start(page, "1.1.1")
        stop(page)
        expect(live.locator("#runs tbody tr")).to_have_count(2, timeout=SEEN_MS)
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir() if path.name.endswith("tiny"))
    assert len(runs) == 2
    assert all((tmp_path / "runs" / run / "verdict.json").exists() for run in runs)


def test_a_page_with_a_login_lets_in_who_knows_it(browser: Browser, cache: Path, tmp_path: Path) -> None:
    secret = {"RUSHHOUR_UI_USER": "ops", "RUSHHOUR_UI_PASSWORD": "a long enough one"}
    with serving(tmp_path, "--login", **secret) as (url, _):
        page = browser.new_page()
        page.goto(f"{url}rushhour")
        expect(page).to_have_url(re.compile("/login"))
        for password in ("a wrong one", "a long enough one"):
            page.locator('input[name="username"]').fill("ops")
            page.locator('input[name="password"]').fill(password)
            page.get_by_role("button", name="Login").click()
            if password == "a wrong one":
                expect(page.get_by_text("Wrong user or password")).to_be_visible()
        expect(page.locator('select[name="scenario"]')).to_be_attached()
        [cookie] = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
