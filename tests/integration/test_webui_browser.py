"""Runs from the browser: a real Chromium presses Start, watches the pool fill, stops, opens the report."""

import http.client
import itertools
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from rushhour.process.reaper import is_alive
from tests.webui_pages import (
    GONE_S,
    READY_S,
    ROOT,
    chromium,
    needs_chromium,
    serving,
    start,
    stop,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.long, needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@dataclass(frozen=True, slots=True)
class Served:
    """A page, and the folder that its runs are in."""

    url: str
    runs: Path

    def runs_of(self, *scenarios: str) -> list[Path]:
        return [path for path in self.runs.iterdir() if path.name.endswith(scenarios)]


@pytest.fixture(scope="module")
def served(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A stack with its page, which the tests without a fault share; the first of them start no run."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder) as (url, _):
        yield Served(url, folder / "runs")


def test_the_form_refuses_what_is_no_number_above_0(browser: Browser, served: Served) -> None:
    page = browser.new_page()
    page.goto(served.url)
    users = page.locator('input[name="userCount"]')
    notice = page.locator("#rushhour-notice")
    for wrong in ("-5", "1e3", "five"):
        users.fill(wrong)
        expect(notice).to_contain_text(f'Number of users: "{wrong}" is not a number above 0')
        page.get_by_role("button", name=re.compile("^start", re.IGNORECASE)).click()
        expect(users).to_have_value(wrong)
        expect(page.locator("#rushhour")).to_have_attribute("data-phase", "ready")
    users.fill("")
    users.press_sequentially("-5")
    expect(users).to_have_value("-5")
    page.locator('input[name="spawnRate"]').click()
    expect(users).to_have_value("-5")
    users.fill("0")
    expect(notice).to_be_hidden()
    page.get_by_role("button", name=re.compile("^start", re.IGNORECASE)).click()
    expect(page.get_by_text("users: '0' is not a number above 0")).to_be_visible()
    users.fill("20")
    page.locator('select[name="scenario"]').select_option("other")
    expect(users).to_have_value("7")
    expect(page.locator('input[name="spawnRate"]')).to_have_value("3")
    expect(page.locator('input[name="runTime"]')).to_have_value("600s")
    page.close()
    assert not served.runs_of("tiny", "other")


# When the page sent each request for a resource, in its own clock (s). A count within a time would depend on
# how long the browser takes to open the pages.
SENT_S = """(resource) => performance.getEntriesByType("resource")
  .filter((entry) => new URL(entry.name).pathname === resource).map((entry) => entry.startTime / 1000)"""
HIDE = """() => {
  Object.defineProperty(document, "hidden", { get: () => true });
  document.dispatchEvent(new Event("visibilitychange"));
  return performance.now() / 1000;
}"""


def test_the_pages_ask_seldom_when_idle_and_never_unseen(browser: Browser, served: Served) -> None:
    opened: list[tuple[Page, str, float]] = []
    for path, resource in (("", "/rushhour/bar"), ("rushhour", "/rushhour/state")):
        page = browser.new_page()
        page.goto(f"{served.url}{path}")
        page.wait_for_function(f"(resource) => ({SENT_S})(resource).length >= 3", arg=resource)
        sent_s: list[float] = page.evaluate(SENT_S, resource)
        assert min(later - sooner for sooner, later in itertools.pairwise(sent_s)) > 3.5
        opened.append((page, resource, page.evaluate(HIDE)))
    opened[0][0].wait_for_timeout(5000)
    for page, resource, hidden_s in opened:
        assert max(page.evaluate(SENT_S, resource)) <= hidden_s
        page.close()


def test_runs_start_and_stop_in_the_browser_and_each_is_judged(browser: Browser, served: Served) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    loads: list[str] = []
    page.on("domcontentloaded", lambda loaded: loads.append(loaded.url))
    page.goto(served.url)
    page.locator('select[name="scenario"]').select_option("other")
    expect(page.locator('input[name="userCount"]')).to_have_value("7")
    page.locator('select[name="scenario"]').select_option("tiny")
    expect(page.locator('input[name="userCount"]')).to_have_value("60")
    start(page, "1.1")
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(page.locator("#rushhour-notice")).to_contain_text("Edit is refused")
    expect(page.locator(".MuiModal-root")).to_have_count(0)
    page.get_by_role("tab", name="Pool", exact=True).click()
    replica = page.locator("tr", has_text="replica")
    expect(replica).to_contain_text("100 %")
    live = browser.new_page()
    live.goto(f"{served.url}rushhour")
    expect(live.locator("#charts .plot")).to_have_count(6)
    expect(live.locator("#holders")).to_contain_text("list_referrals")
    page.get_by_role("tab", name="Verdicts", exact=True).click()
    stop(page)
    [run] = served.runs_of("tiny")
    row = page.locator("tr", has_text=run.name)
    expect(row).to_contain_text(re.compile("pass|fail|unknown"))
    page.get_by_role("tab", name="Pool", exact=True).click()
    state = page.evaluate("fetch('/rushhour/state').then((answer) => answer.json())")
    for pool in state["state"]["pools"]:
        cells = page.locator("tr", has_text=pool["pool"]).locator("td")
        expect(cells.nth(1)).to_have_text(str(pool["checked_out"]))
    expect(page.locator("#rushhour-verdict")).to_contain_text("tiny (release 1.1)")
    report = browser.new_page()
    report.goto(served.url.rstrip("/") + str(page.locator("#rushhour-report").get_attribute("href")))
    expect(report.locator("h1")).to_contain_text("tiny (release 1.1)")
    page.get_by_role("button", name=re.compile("^new$", re.IGNORECASE)).click()
    dialog = page.locator(".MuiModal-root")
    dialog.locator('select[name="scenario"]').select_option("other")
    expect(dialog.locator('input[name="userCount"]')).to_have_value("7")
    expect(dialog.locator('input[name="spawnRate"]')).to_have_value("3")
    expect(dialog).to_be_visible()
    start(page, "1.1.1")
    stop(page)
    expect(live.locator("#runs tbody tr")).to_have_count(2)
    assert len(loads) == 1  # the page was never loaded again
    for opened in (page, live, report):
        opened.close()
    finished = served.runs_of("tiny", "other")
    assert len(finished) == 2
    assert all((run / "verdict.json").exists() for run in finished)


def asked(url: str, headers: dict[str, str]) -> int:
    """The status that a GET with these headers gets."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=READY_S)
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


def runs(process: psutil.Process, program: str) -> bool:
    """Whether a process runs this program; one that has ended meanwhile does not."""
    try:
        return program in " ".join(process.cmdline())
    except psutil.Error:
        return False


def test_a_broken_stack_is_started_again_and_nothing_survives_kill_9(
    browser: Browser, cache: Path, tmp_path: Path
) -> None:
    with serving(tmp_path, ends_by=signal.SIGKILL) as (url, process):
        page = browser.new_page()
        page.goto(url)
        [service] = [one for one in psutil.Process(process.pid).children() if runs(one, "gunicorn")]
        service.kill()
        expect(page.locator("#rushhour")).to_contain_text("the stack broke")
        start(page, "1.1.1")  # and in the middle of this run comes the kill
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 8
    wait_until(lambda: not [one for one in family if is_alive(one)], GONE_S, "all that it started to end")


def test_a_port_in_use_is_reported_before_anything_starts(cache: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "rushhour", "ui", "--port", str(port), "--runs", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=READY_S,
            check=False,
        )
    assert ended.returncode in (2, 64)
    assert str(port) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
