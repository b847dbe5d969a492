"""Tests of the pages of causes in reports."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rushhour.report import causes
from rushhour.report.causes import about, as_html
from rushhour.report.html import render_html
from rushhour.report.markdown import render_markdown
from rushhour.report.terminal import summary
from rushhour.rundir import History, load_history
from rushhour.scenario.model import CAUSES
from rushhour.verdict.judge import Verdict
from tests.unit import sample_run
from tests.unit.sample_run import SampleRun

WITH_PAGE = tuple(cause for cause in CAUSES if cause != "none")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    return sample_run.build(tmp_path_factory.mktemp("causes"))


@pytest.fixture(scope="module")
def history(sample: SampleRun) -> History:
    return load_history(sample.run)


def of_cause(sample: SampleRun, cause: str) -> Verdict:
    page = f"docs/causes/{cause}.md"
    return replace(sample.verdict, diagnosis=replace(sample.verdict.diagnosis, cause=cause, page=page))


def terminal(sample: SampleRun, verdict: Verdict) -> str:
    console = Console(width=80, record=True, force_terminal=False, emoji=False, markup=False)
    with console.capture() as captured:
        console.print(summary(verdict, sample.scenario, sample.run.path, sample.source_root))
    return captured.get()


@pytest.mark.parametrize("cause", WITH_PAGE)
def test_reports_embed_or_refer_to_the_page_of_the_cause_and_name_no_path_in_docs(
    sample: SampleRun, history: History, cause: str
) -> None:
    verdict = of_cause(sample, cause)
    page = render_html(sample.scenario, history, verdict, sample.source_root)
    markdown, shown = render_markdown(sample.scenario, verdict), terminal(sample, verdict)
    assert "<details" in page
    assert f"{causes.SECTION}: how {cause} happens" in page
    assert "<h3>How to cure it</h3>" in page
    for text in (page, markdown, shown):
        assert "docs/" not in text
    for text in (markdown, shown):
        assert f'More  report.html, "{causes.SECTION}"' in text.replace("More: ", "More  ")


@pytest.mark.parametrize("cause", WITH_PAGE)
def test_an_embedded_page_has_no_link_to_a_file_and_no_command_for_a_checkout(cause: str) -> None:
    html = str(about(cause))
    assert 'href="' not in html.replace('href="http', "")
    assert "See it" not in html
    assert "rushhour run zoo" not in html


@pytest.mark.parametrize("cause", ["none", "no-such-cause", "../zoo", ""])
def test_reports_do_not_mention_a_page_for_a_cause_without_one(
    sample: SampleRun, history: History, cause: str
) -> None:
    verdict = of_cause(sample, cause)
    assert about(cause) is None
    assert causes.SECTION not in render_html(sample.scenario, history, verdict, None)
    assert causes.SECTION not in render_markdown(sample.scenario, verdict)
    assert causes.SECTION not in terminal(sample, verdict)


def test_as_html_escapes_html_and_keeps_only_web_links() -> None:
    html = as_html("<b>x</b> [zoo](../zoo.md) [w](https://example.org) [j](javascript:alert(1)) `<i>`\n")
    assert "<b>" not in html
    assert "<i>" not in html
    assert "zoo.md" not in html
    assert 'href="https://example.org"' in html
    assert 'href="javascript' not in html


def test_pages_are_found_in_an_installed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = tmp_path / "rushhour" / "docs" / "causes"
    installed.mkdir(parents=True)
    (installed / "saturation.md").write_text("# saturation\n\n## How it happens\n\nHere.\n", encoding="utf-8")
    monkeypatch.setattr(causes, "FOLDERS", (tmp_path / "docs" / "causes", installed))
    assert about("saturation") == "<h3>How it happens</h3>\n<p>Here.</p>\n"
