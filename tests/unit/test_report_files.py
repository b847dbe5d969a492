"""Tests of report.html, junit.xml and summary.md: their content, and the escaping of quoted text."""

import base64
import gzip
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from rushhour.diagnosis import Diagnosis, HeldSite
from rushhour.report.embed import prose as html_prose
from rushhour.report.embed import script_json
from rushhour.report.files import write_suite
from rushhour.report.holders import suspects
from rushhour.report.html import render_html
from rushhour.report.junit import render_junit
from rushhour.report.markdown import code, prose, render_comparison, render_markdown, text
from rushhour.rundir import History, load_history
from rushhour.rundir import facts as f
from rushhour.verdict.judge import Verdict
from tests.unit import sample_run
from tests.unit.sample_run import SampleRun

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \x1b[31m `|` {{ 7*7 }}"


class Tags(HTMLParser):
    """The elements of a page, and the text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    return sample_run.build(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def history(sample: SampleRun) -> History:
    return load_history(sample.run)


@pytest.fixture(scope="module")
def page(sample: SampleRun, history: History) -> str:
    return render_html(sample.scenario, history, sample.verdict, sample.source_root, ["locust.html"])


def test_reports_are_written_and_link_each_other(sample: SampleRun, history: History) -> None:
    written = sample_run.written(sample, history)
    assert [path.name for path in written] == ["report.html", "junit.xml", "summary.md"]
    assert all(path.stat().st_size > 500 for path in written)
    assert not list(sample.run.path.glob(".*"))
    links = {link["href"] for link in Tags(written[0].read_text(encoding="utf-8")).attributes("a")}
    assert {"locust.html", "junit.xml", "summary.md", "requests.jsonl", "pool.jsonl"} <= links
    assert all((sample.run.path / str(link)).exists() for link in links)


def test_the_page_shows_the_verdict_source_lines_and_numbers(sample: SampleRun, page: str) -> None:
    shown = Tags(page).text
    for wanted in (
        sample.verdict.headline,
        "rows = session.scalars(heavy_join(customer_id)).all()",
        "Diagnosis: scope-never-removed",
        sample.verdict.diagnosis.fix,
        "64 threads share a pool of 30",
        "queuepool_timeouts == 0",
        "30 connections still out when the watch ended",
        "ThreadPoolExecutor-0_29",
        "pool.jsonl sample.leaked",
        "0.5 cores by cgroup cpu.max",
        sample_run.HEAVY,
        sample.verdict.notes[0],
    ):
        assert wanted in shown
    assert "did not go to its end" not in shown


def test_the_page_fetches_nothing_and_its_policy_allows_only_its_own_scripts(page: str) -> None:
    tags = Tags(page)
    assert [link for link in tags.attributes("link") if link["href"] != "data:,"] == []
    assert [script for script in tags.attributes("script") if "src" in script] == []
    assert tags.attributes("img") == tags.attributes("iframe") == []
    policy = next(meta for meta in tags.attributes("meta") if meta.get("http-equiv"))["content"] or ""
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert "url(" not in page.split('id="plotly"', maxsplit=1)[0]


def test_the_page_embeds_plotly(page: str) -> None:
    packed = re.search(r'<script type="text/plain" id="plotly">([^<]+)<', page)
    assert packed
    assert gzip.decompress(base64.b64decode(packed[1])).decode("utf-8") == get_plotlyjs()
    assert len(page) < 2_500_000


def test_the_timeline_data_is_json_that_cannot_end_its_script_element(page: str) -> None:
    data = re.search(r'<script type="application/json" id="timeline-data">([^<]+)</script>', page)
    assert data
    picture = json.loads(data[1])
    assert [panel["key"] for panel in picture["panels"]][4:6] == ["pool-replica", "pool-primary"]
    assert picture["moments"][1]["label"] == "pool replica full"
    assert json.loads(script_json({"a": EVIL})) == {"a": EVIL}
    assert not set("<>&") & set(script_json({"a": EVIL}))


def evil(sample: SampleRun) -> Verdict:
    site = HeldSite(EVIL, 3, EVIL, EVIL, EVIL, 1, 1, 2.0, 2.0)
    diagnosis = Diagnosis(EVIL, "likely", EVIL, EVIL, (EVIL,), sample.verdict.diagnosis.evidence, (site,))
    return replace(
        sample.verdict, headline=EVIL, reasons=(EVIL,), diagnosis=diagnosis, notes=(EVIL,), release=EVIL
    )


def test_the_page_escapes_quoted_text(sample: SampleRun, history: History) -> None:
    harmless = Tags(render_html(sample.scenario, history, sample.verdict, sample.source_root))
    site = f.CallSite(EVIL, 1, EVIL)
    quoted = replace(
        history,
        checkouts=tuple(
            replace(checkout, site=site, thread=EVIL, pool=EVIL) for checkout in history.checkouts
        ),
        pools=tuple(
            replace(sample, pool=EVIL) if sample.pool == "replica" else sample for sample in history.pools
        ),
        events=(*history.events, f.Event(30.0, f.OBSERVER_FAULT, {"observer": EVIL, "error": EVIL})),
    )
    page = render_html(sample.scenario, quoted, evil(sample), None)
    tags = Tags(page)
    assert len(tags.attributes("script")) == len(harmless.attributes("script")) == 4
    assert tags.attributes("img") == []
    assert "{{ 7*7 }}" in tags.text
    assert "\x1b" not in page


def test_the_page_reports_a_run_cut_short_and_a_missing_source_file(
    sample: SampleRun, history: History
) -> None:
    cut = replace(history, events=tuple(e for e in history.events if e.name != f.RUN_ENDED))
    moved = replace(
        sample.verdict.diagnosis,
        call_sites=(replace(sample.verdict.diagnosis.call_sites[0], file="gone.py"),),
    )
    shown = Tags(
        render_html(sample.scenario, cut, replace(sample.verdict, diagnosis=moved), sample.source_root)
    ).text
    assert "did not go to its end" in shown
    assert "No source excerpt: gone.py could not be read" in shown


def test_the_page_of_an_empty_history_shows_the_verdict_and_no_timeline(sample: SampleRun) -> None:
    bare = Verdict(
        scenario="rush-hour",
        release="1.1",
        stack="embedded",
        expected="healthy",
        observed="unknown",
        verdict="unknown",
        headline="Nothing was observed",
        reasons=("the stack broke",),
        diagnosis=Diagnosis("none", "possible", "", ""),
    )
    page = render_html(sample.scenario, History(environment=None), bare, None)
    assert "Nothing was observed" in Tags(page).text
    assert "timeline-data" not in page


def test_junit_counts_failures_and_errors_and_holds_the_metrics(sample: SampleRun) -> None:
    failed = replace(sample.verdict, verdict="fail", scenario="gate")
    unknown = replace(sample.verdict, verdict="unknown", scenario="smoke")
    root = ET.fromstring(render_junit([sample.verdict, failed, unknown]))  # noqa: S314 - our own text
    suite = root.find("testsuite")
    assert suite is not None
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
    }
    passed_case, failed_case, unknown_case = suite.findall("testcase")
    assert passed_case.find("failure") is None
    assert passed_case.find("error") is None
    failure, error = failed_case.find("failure"), unknown_case.find("error")
    assert failure is not None
    assert error is not None
    assert failure.get("message") == sample.verdict.headline
    assert "threshold pool_in_use_max < 80%: 100%" in (failure.text or "")
    assert "at app/queries.py:9 list_referrals" in (failure.text or "")
    properties = {item.get("name"): item.get("value") for item in passed_case.iter("property")}
    assert properties["queuepool_timeouts"] == "15"
    assert properties["replica_lag_s_max"] == "no data"


def test_junit_and_markdown_escape_quoted_text(sample: SampleRun) -> None:
    verdict = replace(evil(sample), verdict="fail")
    root = ET.fromstring(render_junit([verdict]))  # noqa: S314 - our own text
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert "<script>alert(1)</script>" in (failure.text or "")
    markdown = render_markdown(sample.scenario, verdict)
    assert "<script>" not in re.sub(r"`+[^\n]*`+", "", markdown)
    assert "\x1b" not in markdown


def test_prose_turns_only_paired_backticks_into_code() -> None:
    assert html_prose("call `a<b>()` <now>") == "call <code>a&lt;b&gt;()</code> &lt;now&gt;"
    assert html_prose("one ` only <i>") == "one ` only &lt;i&gt;"
    assert prose("call `a_b()` or *c*") == r"call `a_b()` or \*c\*"
    assert prose("one ` only") == r"one \` only"


def test_suspects_are_the_sites_with_connections_out_and_none_for_a_healthy_run(sample: SampleRun) -> None:
    (guilty,) = sample.verdict.diagnosis.call_sites
    idle = replace(guilty, line=16, held=0, leaked=0)
    both = replace(sample.verdict.diagnosis, call_sites=(guilty, idle))
    assert suspects(both) == (guilty,)
    assert suspects(replace(both, call_sites=(idle, idle))) == (idle,)
    assert suspects(replace(both, cause="none")) == ()


def test_markdown_text_and_code_are_escaped() -> None:
    assert text("a|b *c* <d>") == r"a\|b \*c\* &lt;d&gt;"
    assert code("a`b") == "``a`b``"
    assert code("a|b") == r"`a\|b`"


def test_the_summary_starts_with_the_headline_and_shows_the_source_line(sample: SampleRun) -> None:
    markdown = render_markdown(sample.scenario, sample.verdict, sample.source_root)
    assert markdown.splitlines()[0].startswith("## ✅ Pool replica was exhausted as expected")
    assert "| ❌ | `queuepool_timeouts == 0` | 15 |" in markdown
    assert "rows = session.scalars(heavy_join(customer_id)).all()" in markdown
    assert "| `p95_ms` | 41.2 ms |" in markdown


def test_a_suite_has_one_table_and_one_junit_case_per_scenario(sample: SampleRun, tmp_path: Path) -> None:
    other = replace(sample.verdict, scenario="gate", verdict="fail", release="1.1.1")
    results = [(sample.scenario, sample.verdict), (replace(sample.scenario, name="gate"), other)]
    table = render_comparison(results).splitlines()
    assert table[2].count("|") == table[3].count("|") == table[4].count("|") == 15
    assert table[5].endswith("| exhausted | ❌ fail |")
    junit, summary = write_suite(tmp_path, results)
    assert junit.read_text(encoding="utf-8").count("<testcase ") == 2
    assert summary.read_text(encoding="utf-8").count("## ✅ Pool replica") == 1


PACKAGE = Path(__file__).parents[2] / "rushhour"
# Without the web UI: its live page is served, and fetches data from its server.
PAGES = sorted(path for path in PACKAGE.rglob("templates/*.html.j2") if "webui" not in path.parts)


def test_every_template_extends_page_html_or_is_included_by_one_that_does() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in PAGES}
    for path, page in texts.items():
        part = any(f'{{% include "{path.name}" %}}' in other for other in texts.values())
        whole = path.name == "page.html.j2" or page.startswith('{% extends "page.html.j2" %}')
        assert part != whole, path
        assert ("<head>" in page) == (path.name == "page.html.j2"), path


def test_the_report_package_holds_no_templates_of_jobs() -> None:
    """A job keeps its templates in its own package, so that it can be deleted with them."""
    common = {path.name for path in PAGES if path.parent.parent.name == "report"}
    assert common == {
        "alarms.html.j2",
        "page.html.j2",
        "report.html.j2",
        "timeline.html.j2",
        "traffic_rows.html.j2",
    }
    assert {path.parent.parent.name for path in PAGES} >= {"report", "drill", "nightly"}
