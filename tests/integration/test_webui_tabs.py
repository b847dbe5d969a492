"""Locust's page with rushhour's tabs and form, in a real Chromium, over made-up runs without a request."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.free_ports import free_port
from tests.webui_pages import GONE_S, READY_S, ROOT, chromium, listens, needs_chromium, wait_until

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Locust's page, which the tests share: each starts its runs wherever the one before has stopped."""
    port, log = free_port(), tmp_path_factory.mktemp("locust") / "locust.log"
    subject = ROOT / "tests" / "integration" / "webui_subject.py"
    command = [sys.executable, "-m", "locust", "-f", str(subject), "--web-host", "127.0.0.1"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--web-port", str(port)], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, READY_S, "Locust's page")
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(GONE_S)


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The page in a browser, which must never load it again."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    loads: list[str] = []
    page.on("domcontentloaded", lambda loaded: loads.append(loaded.url))
    page.goto(url)
    yield page
    assert len(loads) == 1
    page.close()


def button(within: Page | Locator, name: str) -> Locator:
    return within.get_by_role("button", name=re.compile(f"^{name}", re.IGNORECASE))


def phase(page: Page, name: str) -> None:
    expect(page.locator("#rushhour")).to_have_attribute("data-phase", name)


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def open_form(page: Page) -> Locator:
    """The form for a new run: the first page shows it at once, later ones after a click."""
    new, first = button(page, "new$"), button(page, "start")
    expect(new.or_(first).first).to_be_visible()
    if not new.is_visible():
        return page.locator("body")
    new.click()
    return page.locator(".MuiModal-root")


def run_once(page: Page, tab_before: str) -> None:
    """Start a run, stop it with a tab open, and wait for its verdict."""
    button(open_form(page), "start").click()
    phase(page, "running")
    tab(page, tab_before)
    button(page, "stop").click()
    phase(page, "ready")


@pytest.mark.long
def test_the_tabs_are_right_after_each_run_without_a_reload(page: Page) -> None:
    for runs, opened in enumerate(("Pool", "Verdicts", "Statistics"), start=1):
        run_once(page, opened)
        tab(page, "Verdicts")
        expect(page.locator("tr", has_text="it ran out")).to_have_count(runs)
        tab(page, "Pool")
        expect(page.locator("tr", has_text="replica")).to_contain_text("20 %")


def test_choosing_another_scenario_fills_the_open_dialog(page: Page) -> None:
    if not button(page, "new$").is_visible():
        run_once(page, "Pool")
    dialog = open_form(page)
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
    button(open_form(page), "start").click()
    phase(page, "running")
    button(page, "edit$").click()
    expect(page.locator("#rushhour-notice")).to_be_visible()
    expect(page.locator("#rushhour-notice")).to_contain_text("Edit is refused")
    expect(page.locator(".MuiModal-root")).to_have_count(0)
    button(page, "stop").click()
    phase(page, "ready")
