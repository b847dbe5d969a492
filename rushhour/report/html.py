"""Renders report.html: one file that works offline and fetches nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.diagnosis import HeldSite
from rushhour.metrics.window import Window, find_window
from rushhour.report import forecast, forecast_picture, settings, traffic, words
from rushhour.report.alarms import AlarmSection
from rushhour.report.causes import SECTION, about
from rushhour.report.holders import still_out, suspects, top_holders
from rushhour.report.page import render_page, timeline_chart
from rushhour.report.panels import end_of, timeline
from rushhour.report.source import Excerpt, sources_of
from rushhour.report.traffic import TrafficSection
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict

HOLDERS_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Site:
    """A call site of the diagnosis, with its source lines."""

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
    compared: TrafficSection | None = None,
) -> str:
    """Render the page of a run.

    Source excerpts are read from `source_root`; `beside` names files of the run directory to
    link; `compared` is the section about the traffic.
    """
    picture = timeline(history)
    sources = sources_of(scenario, source_root)
    window = find_window(history, scenario.load.warm_up)
    watched = window or Window(0.0, 0.0, end_of(history), end_of(history))
    content: dict[str, object] = {
        "scenario": scenario,
        "verdict": verdict,
        "diagnosis": verdict.diagnosis,
        "tiles": _tiles(scenario, verdict),
        "sites": [Site(s, sources.excerpt(s.file, s.line)) for s in suspects(verdict.diagnosis)],
        "timeline": picture,
        "holders": top_holders(history, watched)[:HOLDERS_SHOWN],
        "still_out": still_out(history, watched),
        "endpoints": sorted(verdict.endpoints.items(), key=lambda item: (-item[1].requests, item[0])),
        "environment": _environment(scenario, history),
        "faults": _faults(history),
        "beside": beside,
        "alarms": alarms,
        "traffic": compared,
        "traffic_headline": traffic.headline(compared.found) if compared and compared.found else "",
        "traffic_rows": [traffic.cells(row) for row in compared.found.rows]
        if compared and compared.found
        else [],
        "traffic_notes": traffic.notes(compared.found) if compared and compared.found else [],
        "forecast": verdict.forecast,
        "forecast_answer": forecast.ANSWER[verdict.forecast.exhausts] if verdict.forecast else "",
        "forecast_picture": forecast_picture.picture(verdict.forecast) if verdict.forecast else None,
        "forecast_rows": forecast.rows(verdict.forecast) if verdict.forecast else [],
        "over_what": words.over_what(scenario),
        "about": about(verdict.diagnosis.cause),
        "about_title": SECTION,
        "complete": history.complete,
        "started": history.environment.started_at if history.environment else "",
        "what": "run",
    }
    return render_page("report.html.j2", content, chart=timeline_chart(picture))


def _tiles(scenario: Scenario, verdict: Verdict) -> list[tuple[str, str, str]]:
    """Return the tiles at the top of the page: name, value and a line of context."""
    get = verdict.metrics.get
    requests, failures = get("requests"), get("http_5xx")
    share = f"{failures / requests:.2%} of requests" if requests and failures is not None else ""
    exhausted, detected = get("time_to_exhaustion_s"), get("time_to_detection_s")
    early = exhausted is not None and exhausted < scenario.load.warm_up
    full = _of("full after {}" + (", in the warm-up" if early else ""), exhausted, "{:.1f} s")
    servers = [
        ("CPU primary", words.cores(get("primary_cpu_cores_mean")), "cores, mean"),
        ("CPU replica", words.cores(get("replica_cpu_cores_mean")), "cores, mean"),
    ]
    came = f"{words.count(get('arrivals'))} customers arrived"
    arrivals = [
        (
            "customers present",
            f"{words.count(get('users_max'))} at most",
            came + _of(", {} a second", get("arrivals_per_s"), "{:.3g}"),
        )
    ]
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
            "; ".join(filter(None, ["sampled" if get("pool_in_use_max") is not None else "", full])),
        ),
        (
            "leaked connections",
            words.count(get("leaked_connections")),
            _of("detected after {}", detected, "{:.1f} s"),
        ),
        (
            "p95 latency",
            words.ms(get("p95_ms")),
            f"p50 {words.ms(get('p50_ms'))}, p99 {words.ms(get('p99_ms'))}"
            + _of("; p95 from when due {} ms", get("p95_due_ms"), "{:,.0f}"),
        ),
        *(arrivals if scenario.load.arrivals is not None else ()),
        *(servers if scenario.wants_servers else ()),
    ]


def _of(template: str, value: words.Number, form: str) -> str:
    return "" if value is None else template.format(form.format(value))


def _environment(scenario: Scenario, history: History) -> list[tuple[str, str]]:
    rows = list(settings.rows(scenario, history))
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
    """List the faults that make the numbers incomplete."""
    faults = [f"agent in process {fault.pid}, {fault.where}: {fault.error}" for fault in history.agent_faults]
    faults += [
        f"observer {event.detail.get('observer')}: {event.detail.get('error')}"
        for event in history.events
        if event.name == f.OBSERVER_FAULT
    ]
    return list(dict.fromkeys(faults))
