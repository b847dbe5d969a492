"""Locust's page with rushhour's tabs and form, in a real Chromium, over made-up runs without a request."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.webui_pages import GONE_S, ROOT, SEEN_MS, chromium, free_port, listens, needs_chromium, wait_until

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """Locust's page, which must never be loaded again."""
    port = free_port()
    subject = ROOT / "tests" / "integration" / "webui_subject.py"
    command = [sys.executable, "-m", "locust", "-f", str(subject), "--web-host", "127.0.0.1"]
    with (tmp_path / "locust.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--web-port", str(port)], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, GONE_S, "Locust's page")
        assert process.poll() is None, (tmp_path / "locust.log").read_text()
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        loads: list[str] = []
        page.on("domcontentloaded", lambda loaded: loads.append(loaded.url))
        page.goto(f"http://127.0.0.1:{port}/")
        yield page
        assert len(loads) == 1
        page.close()
    finally:
        process.terminate()
        process.wait(GONE_S)


def button(within: Page | Locator, name: str) -> Locator:
    return within.get_by_role("button", name=re.compile(f"^{name}", re.IGNORECASE))


def phase(page: Page, name: str) -> None:
    expect(page.locator("#rushhour")).to_have_attribute("data-phase", name, timeout=SEEN_MS)


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def run_once(page: Page, tab_before: str) -> None:
    """Start a run, stop it with a tab open, and wait for its verdict."""
    button(page, "start").click()
    phase(page, "running")
    tab(page, tab_before)
    button(page, "stop").click()
    phase(page, "ready")


@pytest.mark.parametrize("opened", ["Pool", "Verdicts", "Statistics"])
def test_the_tabs_are_right_after_each_run_without_a_reload(page: Page, opened: str) -> None:
    for runs in (1, 2):
        run_once(page, opened)
        tab(page, "Verdicts")
        expect(page.locator("tr", has_text="it ran out")).to_have_count(runs, timeout=5000)
        tab(page, "Pool")
        expect(page.locator("tr", has_text="replica")).to_contain_text("20 %", timeout=5000)
        if runs == 1:
            button(page, "new$").click()


def test_choosing_another_scenario_fills_the_open_dialog(page: Page) -> None:
    run_once(page, "Pool")
    button(page, "new$").click()
    dialog = page.locator(".MuiModal-root")
    for name, users, rate, time, release in (("other", 7, 3, "30s", "1.0"), ("tiny", 60, 60, "75s", "1.1")):
        dialog.locator('select[name="scenario"]').select_option(name)
        expect(dialog.locator('input[name="userCount"]')).to_have_value(str(users))
        expect(dialog.locator('input[name="spawnRate"]')).to_have_value(str(rate))
        expect(dialog.locator('input[name="runTime"]')).to_have_value(time)
        expect(dialog.locator('select[name="release"]')).to_have_value(release)
        expect(dialog).to_be_visible()
    users_field = dialog.locator('input[name="userCount"]')
    users_field.fill("-5")
    button(dialog, "start").click()
    expect(page.locator("#rushhour-notice")).to_contain_text('"-5" is not a number above 0')
    expect(users_field).to_have_value("-5")
    phase(page, "ready")


def test_edit_is_refused_in_words_while_a_run_goes_on(page: Page) -> None:
    button(page, "start").click()
    phase(page, "running")
    button(page, "edit$").click()
    expect(page.locator("#rushhour-notice")).to_be_visible()
    expect(page.locator("#rushhour-notice")).to_contain_text("Edit is refused")
    expect(page.locator(".MuiModal-root")).to_have_count(0)
    button(page, "stop").click()
    phase(page, "ready")
