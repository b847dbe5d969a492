"""report.html: one file that opens offline and fetches nothing."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rushhour.diagnosis import HeldSite
from rushhour.metrics.window import find_window
from rushhour.report import words
from rushhour.report.alarms import AlarmSection, advice_lines, break_even_lines, first_page, headline
from rushhour.report.embed import asset, plotly, prose, script_json, sha256
from rushhour.report.holders import still_out, suspects, top_holders
from rushhour.report.panels import end_of, timeline
from rushhour.report.real_pages import real_line, row_cells
from rushhour.report.series import Panel, Timeline
from rushhour.report.source import Excerpt, sources_of
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict

HOLDERS_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Site:
    """A call site of the diagnosis, with its source."""

    held: HeldSite
    source: Excerpt


def render_html(
    scenario: Scenario,
    history: History,
    verdict: Verdict,
    source_root: Path | None,
    beside: Sequence[str] = (),
    *,
    alarms: AlarmSection | None = None,
) -> str:
    """The whole page; source is read below `source_root`, `beside` are files of the run directory to link."""
    head, body, library = asset("theme.js"), asset("charts.js") + asset("timeline.js"), plotly()
    picture = timeline(history)
    sources = sources_of(scenario, source_root)
    window = find_window(history, scenario.load.warm_up)
    end_s = window.end_s if window else end_of(history)
    allowed = " ".join(f"'sha256-{digest}'" for digest in (sha256(head), sha256(body), library.sha256))
    return str(
        _template().render(
            policy=f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:",
            css=Markup(asset("report.css")),  # noqa: S704 - a file of this package, not input
            theme_js=Markup(head),  # noqa: S704 - as above
            timeline_js=Markup(body),  # noqa: S704 - as above
            plotly=library.packed,
            data=Markup(script_json(timeline_data(picture))),  # noqa: S704 - script_json escapes it
            scenario=scenario,
            verdict=verdict,
            diagnosis=verdict.diagnosis,
            tiles=_tiles(verdict),
            sites=[Site(s, sources.excerpt(s.file, s.line)) for s in suspects(verdict.diagnosis)],
            timeline=picture,
            holders=top_holders(history, end_s)[:HOLDERS_SHOWN],
            still_out=still_out(history, end_s),
            endpoints=sorted(verdict.endpoints.items(), key=lambda item: (-item[1].requests, item[0])),
            environment=_environment(scenario, history),
            faults=_faults(history),
            beside=beside,
            alarms=alarms,
            complete=history.complete,
            started=history.environment.started_at if history.environment else "",
        )
    )


def timeline_data(picture: Timeline) -> dict[str, Any]:
    """The timeline as the page's script reads it; numbers to five digits, gaps as null."""
    return {
        "end": round(picture.end_s, 3),
        "panels": [_panel(panel) for panel in picture.panels],
        "moments": [
            {
                "t": round(m.t_s, 3),
                "label": words.clean(m.label),
                "detail": words.clean(m.detail),
                "tone": m.tone,
            }
            for m in picture.moments
        ],
        "shaded": [[round(start, 3), round(end, 3), why] for start, end, why in picture.shaded],
    }


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "key": panel.key,
        "title": words.clean(panel.title),
        "unit": panel.unit,
        "log": panel.log,
        "top": panel.floor_top,
        "series": [
            {
                "name": words.clean(series.name),
                "mark": series.mark,
                "tone": series.tone,
                "width": series.width_s,
                "t": [round(t, 2) for t in series.t_s],
                "v": [None if value is None else float(f"{value:.5g}") for value in series.values],
            }
            for series in panel.series
        ],
    }


def _template() -> Any:
    return environment().get_template("report.html.j2")


@functools.cache
def environment() -> Environment:
    """The pages' templates, with the filters that they use."""
    loader = PackageLoader("rushhour.report", "templates")
    pages = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for name in ("count", "ms", "seconds", "cores", "clean", "metric", "threshold_value", "evidence_value"):
        pages.filters[name] = getattr(words, name)
    pages.filters["held"] = words.held
    pages.filters["alarm_headline"] = headline
    for filter_of_alarms in (first_page, advice_lines, break_even_lines, real_line, row_cells):
        pages.filters[filter_of_alarms.__name__] = filter_of_alarms
    pages.filters["prose"] = prose
    return pages


def _tiles(verdict: Verdict) -> list[tuple[str, str, str]]:
    """Name, figure and a line of context of the numbers that are looked at first."""
    get = verdict.metrics.get
    requests, failures = get("requests"), get("http_5xx")
    share = f"{failures / requests:.2%} of requests" if requests and failures is not None else ""
    exhausted, detected = get("time_to_exhaustion_s"), get("time_to_detection_s")
    return [
        ("requests", words.count(requests), _of("{} requests/s", get("achieved_rps"), "{:,.0f}")),
        ("HTTP 5xx", words.count(failures), share),
        (
            "pool time-outs",
            words.count(get("queuepool_timeouts")),
            _of("{} waiting at most", get("pool_waiters_max"), "{:,.0f}"),
        ),
        (
            "pool at its fullest",
            words.share(get("pool_in_use_max"), get("pool_capacity")),
            _of("full after {}", exhausted, "{:.1f} s"),
        ),
        (
            "leaked connections",
            words.count(get("leaked_connections")),
            _of("detected after {}", detected, "{:.1f} s"),
        ),
        (
            "p95 latency",
            words.ms(get("p95_ms")),
            f"p50 {words.ms(get('p50_ms'))}, p99 {words.ms(get('p99_ms'))}",
        ),
        ("CPU primary", words.cores(get("primary_cpu_cores_mean")), "cores, mean"),
        ("CPU replica", words.cores(get("replica_cpu_cores_mean")), "cores, mean"),
    ]


def _of(words_: str, value: words.Number, form: str) -> str:
    return "" if value is None else words_.format(form.format(value))


def _environment(scenario: Scenario, history: History) -> list[tuple[str, str]]:
    load, pool, service = scenario.load, scenario.pool, scenario.service
    rows = [
        (
            "load",
            f"{load.users:,} customers, {load.shape}, {words.seconds(load.duration)}, {load.locustfile}",
        ),
        ("think time", f"{words.seconds(load.think_time)} median; warm-up {words.seconds(load.warm_up)}"),
        ("pool", f"{pool.size} + {pool.max_overflow}, time-out {words.seconds(pool.timeout)}"),
        ("service", f"{scenario.target.name}, {service.workers} x {service.threads} threads"),
        ("data", f"{scenario.data.size}, seed {scenario.data.seed}"),
    ]
    here = history.environment
    if here is None:
        return rows
    found: list[tuple[str, object]] = [
        ("started", here.started_at),
        ("stack", here.stack),
        ("PostgreSQL", here.postgres),
        ("Locust", here.locust),
        ("SQLAlchemy", here.sqlalchemy),
        ("Python", here.python),
        ("rushhour", f"{here.rushhour}, commit {here.commit}" if here.commit else here.rushhour),
        ("machine", f"{here.platform}, {here.cpu_count} CPUs, {here.memory_mb / 1024:.1f} GiB"),
        *((f"limit of {name}", how) for name, how in here.limits.items()),
    ]
    return rows + [(name, str(value)) for name, value in found if value is not None]


def _faults(history: History) -> list[str]:
    """What makes the numbers incomplete."""
    told = [f"agent in process {one.pid}, {one.where}: {one.error}" for one in history.agent_faults]
    told += [
        f"observer {event.detail.get('observer')}: {event.detail.get('error')}"
        for event in history.events
        if event.name == f.OBSERVER_FAULT
    ]
    return list(dict.fromkeys(told))
