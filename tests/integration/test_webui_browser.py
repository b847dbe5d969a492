"""Runs from the browser: a real Chromium presses Start, watches the pool fill, stops, opens the report."""

import http.client
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Browser, expect

from tests.webui_pages import (
    GONE_S,
    ROOT,
    SEEN_MS,
    chromium,
    needs_chromium,
    serving,
    start,
    stop,
    wait_until,
)

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


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


def asked(url: str, headers: dict[str, str]) -> int:
    """The status that a GET with these headers gets."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    try:
        connection.request("GET", "/login", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_page_with_a_login_refuses_wrong_passwords_and_other_sites(
    browser: Browser, cache: Path, tmp_path: Path
) -> None:
    secret = {"RUSHHOUR_UI_USER": "ops", "RUSHHOUR_UI_PASSWORD": "a long enough one"}
    with serving(tmp_path, "--login", environment=secret) as (url, _):
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
        for headers in (
            {"Origin": "http://shop.example.test"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
            {"Host": "shop.example.test"},
        ):
            assert asked(url, headers) == 403
        assert asked(url, {}) == 200


def test_a_broken_stack_is_started_again_and_nothing_survives_kill_9(
    browser: Browser, cache: Path, tmp_path: Path
) -> None:
    with serving(tmp_path, ends_by=signal.SIGKILL) as (url, process):
        page = browser.new_page()
        page.goto(url)
        family = psutil.Process(process.pid).children(recursive=True)
        [service] = [
            one for one in family if "gunicorn" in " ".join(one.cmdline()) and one.ppid() == process.pid
        ]
        service.kill()
        expect(page.locator("#rushhour")).to_contain_text("the stack broke", timeout=SEEN_MS)
        start(page, "1.1.1")
        stop(page)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 8
    wait_until(lambda: not [one for one in family if one.is_running()], GONE_S, "all that it started to end")


def test_a_port_in_use_is_reported_before_anything_starts(cache: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "rushhour", "ui", "--port", str(port), "--runs", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode in (2, 64)
    assert str(port) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
