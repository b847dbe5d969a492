"""Tests of report.html in Chromium, offline: panels, cursor, zoom, printing and escaping."""

import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

from rushhour.rundir import load_history
from tests.unit import sample_run

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PANELS = 9
READY_MS = 30_000
expect.set_options(timeout=READY_MS)  # a page is as slow as what runs beside it
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install chromium or set CHROMIUM to its path"),
]


class Opened:
    """An open page, with the console messages, errors, dialogs and requests that no report may cause."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("console", lambda message: self.wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("dialog", self._asked)
        page.on("request", lambda request: self._requested(request.url))
        page.goto(path.as_uri())
        page.locator("#timeline[data-ready=yes]").wait_for(timeout=READY_MS)

    def _asked(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _requested(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self.wrong.append(f"request: {url}")

    def box(self, selector: str) -> dict[str, float]:
        found = self.page.locator(selector).first.bounding_box()
        assert found is not None, f"{selector} is not drawn"
        return dict(found)  # type: ignore[arg-type]  # a typed dict of four floats

    def range(self) -> list[float]:
        shown: list[float] = self.page.evaluate("document.getElementById('chart').layout.xaxis.range.slice()")
        return shown

    def lines(self) -> list[str]:
        """Return the SVG paths of the traces of each panel."""
        drawn: list[str] = self.page.evaluate(
            "[...document.querySelectorAll('#chart .cartesianlayer > .subplot')].map("
            "p => [...p.querySelectorAll('.trace path')].map(path => path.getAttribute('d')).join())"
        )
        return drawn


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sample = sample_run.build(tmp_path_factory.mktemp("browser"))
    history = load_history(sample.run)
    return sample_run.page_of(sample, history)


@pytest.fixture(scope="module")
def shared(browser: Browser, report: Path) -> Iterator[Opened]:
    yield from opening(browser, report)


@pytest.fixture
def opened(shared: Opened) -> Iterator[Opened]:
    """Share one page between tests that change only its zoom and cursor."""
    yield shared
    shared.page.keyboard.press("Escape")
    if shared.page.locator("#reset").is_enabled():
        shared.page.locator("#reset").click()
    shared.page.mouse.move(2, 2)
    expect(shared.page.locator("#reset")).to_be_disabled()
    assert shared.wrong == []


def opening(browser: Browser, path: Path, **settings: Any) -> Iterator[Opened]:
    settings = {"viewport": {"width": 1200, "height": 1500}, "color_scheme": "light"} | settings
    context = browser.new_context(offline=True, **settings)
    opened = Opened(context.new_page(), path)
    yield opened
    context.close()
    assert opened.wrong == []


def test_every_panel_is_drawn_offline_without_an_error(opened: Opened) -> None:
    lines = opened.lines()
    assert len(lines) == PANELS
    assert all("M" in line for line in lines)
    expect(opened.page.locator(".phead")).to_have_count(PANELS)
    expect(opened.page.locator(".flag")).to_have_count(5)
    heads = [
        (head["y"], head["y"] + head["height"]) for head in map(_box, opened.page.locator(".phead").all())
    ]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(heads))
    labels = opened.page.locator("#chart .yaxislayer-above text").all_text_contents()
    assert {"30", "10 s", "100 ms"} <= set(labels)


def _box(locator: Any) -> dict[str, float]:
    found = locator.bounding_box()
    assert found is not None
    return dict(found)


def test_flags_of_moments_do_not_cover_each_other(opened: Opened) -> None:
    flags = [_box(flag) for flag in opened.page.locator(".flag").all()]
    for at, item in enumerate(flags):
        for other in flags[at + 1 :]:
            apart_x = item["x"] + item["width"] <= other["x"] or other["x"] + other["width"] <= item["x"]
            assert apart_x or abs(item["y"] - other["y"]) >= min(item["height"], other["height"])


def test_the_cursor_shows_the_values_of_every_panel(opened: Opened) -> None:
    page = opened.page
    page.locator("#timeline").scroll_into_view_if_needed()
    chart, last = opened.box("#timeline"), _box(page.locator(".phead").last)
    expect(page.locator("#cursor")).to_be_hidden()
    page.mouse.move(chart["x"] + chart["width"] * 0.6, last["y"] + last["height"] + 40)
    expect(page.locator("#cursor")).to_be_visible()
    cursor, first = opened.box("#cursor"), opened.box(".phead")
    assert cursor["y"] <= first["y"] + first["height"]
    assert cursor["y"] + cursor["height"] > last["y"] + last["height"]
    expect(page.locator(".key .value.idle")).to_have_count(0)
    pool = page.locator(".phead", has_text="Pool replica").locator(".value")
    expect(pool).to_have_text(["30", "30", "30"])
    page.mouse.move(5, 5)
    expect(page.locator("#cursor")).to_be_hidden()


def test_dragging_zooms_all_panels_and_the_button_resets_the_zoom(opened: Opened) -> None:
    page = opened.page
    whole, before = opened.range(), opened.lines()
    panel = page.locator(".phead", has_text="CPU")
    panel.scroll_into_view_if_needed()
    head = _box(panel)
    y = head["y"] + head["height"] + 50
    page.mouse.move(head["x"] + head["width"] * 0.25, y)
    page.mouse.down()
    page.mouse.move(head["x"] + head["width"] * 0.4, y, steps=5)
    page.mouse.move(head["x"] + head["width"] * 0.5, y, steps=5)
    page.mouse.up()
    expect(page.locator("#reset")).to_be_enabled()
    start, end = opened.range()
    assert end - start == pytest.approx((whole[1] - whole[0]) * 0.25, rel=0.05)
    assert all(now != was for now, was in zip(opened.lines(), before, strict=True))
    expect(page.locator(".flag:visible")).to_have_count(2)  # pool full, leak detected
    page.locator("#reset").click()
    expect(page.locator("#reset")).to_be_disabled()
    assert opened.range() == pytest.approx(whole)
    expect(page.locator(".flag:visible")).to_have_count(5)


def test_clicking_a_flag_zooms_to_its_moment(opened: Opened) -> None:
    opened.page.locator(".flag", has_text="first time-out").click()
    expect(opened.page.locator("#reset")).to_be_enabled()
    assert opened.range() == pytest.approx([49.4, 59.4], abs=0.1)


def test_the_keyboard_moves_the_cursor_and_zooms_and_values_are_announced(opened: Opened) -> None:
    page = opened.page
    page.locator("#timeline").focus()
    page.keyboard.press("End")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator("#cursor")).to_be_visible()
    expect(page.locator("#spoken")).to_contain_text("Pool replica: leaked 30, in use 30, capacity 30")
    wide = opened.range()
    page.keyboard.press("+")
    expect(page.locator("#reset")).to_be_enabled()
    assert opened.range()[1] - opened.range()[0] == pytest.approx((wide[1] - wide[0]) / 2, rel=0.01)
    page.keyboard.press("0")
    expect(page.locator("#reset")).to_be_disabled()


def test_a_series_can_be_hidden_and_shown_again(opened: Opened) -> None:
    key = opened.page.locator(".phead", has_text="Requests").locator(".key", has_text="sent")
    before = opened.lines()
    key.click()
    expect(key).to_have_attribute("aria-pressed", "false")
    assert len(opened.lines()[1]) < len(before[1])
    key.click()
    expect(key).to_have_attribute("aria-pressed", "true")
    assert opened.lines() == before


def test_a_dark_page_prints_in_light_colours_and_follows_the_button(
    browser: Browser, report: Path, tmp_path: Path
) -> None:
    def colours(page: Page) -> tuple[str, str]:
        found = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('#chart .js-line')).stroke]"
        )
        return found[0], found[1]

    for opened in opening(browser, report, color_scheme="dark"):
        page = opened.page
        dark = colours(page)
        assert dark[0] == "rgb(20, 23, 27)"
        page.evaluate(  # what was on the page as it went to the printer
            "addEventListener('beforeprint', () => { window.printed = "
            "[document.getElementById('chart').layout.width, document.documentElement.dataset.theme]; })"
        )
        printed = page.pdf(path=tmp_path / "report.pdf", format="A4")
        assert page.evaluate("window.printed") == [680, "light"]  # the width of the paper
        assert printed.startswith(b"%PDF")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.locator("#theme").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
        light = colours(page)
        assert light[1] != dark[1]
        page.reload()
        page.locator("#timeline[data-ready=yes]").wait_for(timeout=READY_MS)
        assert colours(page) == light


def test_the_page_fits_the_width_of_a_phone(browser: Browser, report: Path) -> None:
    for opened in opening(
        browser, report, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True
    ):
        page = opened.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        panel = page.locator(".phead", has_text="Pool replica")
        panel.scroll_into_view_if_needed()
        head = _box(panel)
        page.touchscreen.tap(head["x"] + head["width"] * 0.7, head["y"] + head["height"] + 30)
        expect(page.locator("#cursor")).to_be_visible()
        expect(panel.locator(".value")).to_have_text(["30", "30", "30"])
        page.locator("#in").tap()
        expect(page.locator("#reset")).to_be_enabled()


def test_quoted_markup_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    sample = sample_run.build(tmp_path)
    history = load_history(sample.run)
    history = replace(
        history,
        pools=tuple(replace(pool, pool=EVIL) if pool.pool == "replica" else pool for pool in history.pools),
    )
    verdict = replace(sample.verdict, headline=EVIL, reasons=(EVIL,))
    page = sample_run.page_of(replace(sample, verdict=verdict), history)
    for opened in opening(browser, page):
        expect(opened.page.locator("h1")).to_have_text(EVIL)
        expect(opened.page.locator(".ptitle", has_text="Pool <img")).to_have_count(1)
        expect(opened.page.locator("img")).to_have_count(0)


def test_the_time_axis_of_a_long_run_is_in_minutes(browser: Browser, tmp_path: Path) -> None:
    sample = sample_run.build(tmp_path, load_s=400.0)
    history = load_history(sample.run)
    page = sample_run.page_of(sample, history)
    for opened in opening(browser, page):
        expect(opened.page.locator("#chart .xtitle")).to_have_text("time since the load started (min:s)")
        flag = opened.page.locator(".flag", has_text="load ended")
        expect(flag).to_contain_text("06:40")
        flag.click()
        expect(opened.page.locator("#reset")).to_be_enabled()
        expect(opened.page.locator(".flag:visible")).to_have_count(1)


@pytest.mark.long
def test_no_line_of_a_long_run_leaves_its_time(browser: Browser, tmp_path: Path) -> None:
    """The axis of a long run is one of dates, on which a number such as 1500 would be a year."""
    sample = sample_run.build(tmp_path, load_s=400.0)
    history = load_history(sample.run)
    page = sample_run.page_of(sample, history)
    for opened in opening(browser, page):
        widest = opened.page.evaluate(
            "Math.max(...[...document.querySelectorAll('#chart .scatterlayer .js-line')].map("
            "path => path.getBBox().width))"
        )
        plot = opened.page.evaluate("document.querySelector('#chart .plotclip rect').width.baseVal.value")
        assert 0.9 * plot < widest <= plot + 2
        backwards = opened.page.evaluate(
            "[...document.querySelectorAll('#chart .scatterlayer .js-line')].filter(path => {"
            "  const xs = [...path.getAttribute('d').matchAll(/[ML](-?[\\d.]+),/g)].map(found => +found[1]);"
            "  return xs.some((x, at) => at && x < xs[at - 1]);"
            "}).length"
        )
        assert backwards == 0
        opened.page.evaluate("document.querySelector('.flag').click()")
        start, end = opened.page.evaluate(
            "document.getElementById('chart').layout.xaxis.range.map("
            "end => typeof end === 'string' ? Date.parse(end.replace(' ', 'T') + 'Z') : end)"
        )
        assert 0 < end - start < 11_000
