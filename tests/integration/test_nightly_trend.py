"""The trend page in a real Chromium, offline: its charts are drawn, and it runs nothing quoted."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

from rushhour.jobs.archive import RunRow
from rushhour.jobs.nightly.trend import MEASURES, render_trend
from tests.integration.test_report_browser import CHROMIUM, EVIL, FLAGS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install chromium or set CHROMIUM to its path"),
]

ROW = RunRow(
    run="nightly/20250101T030000Z/20250101T030001Z-gate",
    night="20250101T030000Z",
    started_at="2025-01-01T03:00:01+00:00",
    scenario="gate",
    release="1.1.1",
    stack="embedded",
    code_commit=None,
    expected="healthy",
    observed="healthy",
    verdict="pass",
    headline="all is well",
    cause="none",
    requests=6000,
    achieved_rps=80.0,
    http_5xx=0,
    http_5xx_rate=0.0,
    queuepool_timeouts=0,
    leaked_connections=0,
    pool_in_use_max=12,
    pool_capacity=30,
    p95_ms=41.0,
    primary_cpu_cores_mean=0.2,
    replica_cpu_cores_mean=0.3,
)


def nights() -> Iterator[RunRow]:
    for day in range(1, 11):
        night = f"202501{day:02}T030000Z"
        good = dataclasses.replace(ROW, night=night, run=f"nightly/{night}/x-gate", p95_ms=40.0 + day)
        yield good
        yield dataclasses.replace(good, scenario=f"rush{EVIL}", run=f"nightly/{night}/x-rush", verdict="fail")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_charts_are_drawn_offline(browser: Browser, tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "trend.html"
    path.write_text(render_trend([*nights()], {"20250110T030000Z", "20250110T030000Z/x-gate"}))
    page = browser.new_page(color_scheme="dark" if scheme == "dark" else "light")
    wrong: list[str] = []

    def asked(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", asked)
    page.on("request", lambda request: wrong.append(request.url) if request.url[:5] != "file:" else None)
    page.goto(path.as_uri())
    page.locator("#charts[data-ready=yes]").wait_for(timeout=20_000)

    expect(page.locator("h1")).to_have_text("10 nights, the last of 2025-01-10 03:00 UTC")
    expect(page.locator("tbody tr")).to_have_count(10)
    assert drawn(page) == [2] * len(MEASURES)
    assert page.locator("tbody a").evaluate_all("links => links.map(link => link.getAttribute('href'))") == [
        "20250110T030000Z/summary.md",
        "20250110T030000Z/x-gate/report.html",
    ]
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.locator("#theme").click()
    assert page.evaluate(colour) != before
    page.locator("#legend button").first.click()
    assert drawn(page) == [1] * len(MEASURES)
    assert wrong == []
    page.close()


def drawn(page: Page) -> list[int]:
    """Lines in each panel."""
    counts: list[int] = page.locator(".panel").evaluate_all(
        "panels => panels.map(panel => panel.querySelectorAll('.scatterlayer .trace').length)"
    )
    return counts


def test_without_a_night_the_page_says_so(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "trend.html"
    path.write_text(render_trend([]))
    page = browser.new_page()
    page.goto(path.as_uri())
    expect(page.locator("h1")).to_have_text("No night yet")
    page.close()
