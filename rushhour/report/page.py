"""Renders HTML pages that work offline and fetch nothing."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rushhour.diagnosis.units import after_what
from rushhour.report import words
from rushhour.report.alarms import advice_lines, break_even_lines, first_page, headline
from rushhour.report.embed import asset, plotly, prose, script_json, sha256
from rushhour.report.real_pages import real_line, row_cells
from rushhour.report.series import Panel, Timeline

PACKAGE: Final = "rushhour.report"


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart of a page: its data, for the element `id`, and its script, which runs after charts.js."""

    id: str
    data: Mapping[str, Any]
    script: str


def render_page(
    template: str,
    content: Mapping[str, object],
    *,
    package: str = PACKAGE,
    css: str = "",
    chart: Chart | None = None,
) -> str:
    """Render a template that extends page.html.j2.

    The template is looked up in the `templates` folder of `package`, then in that of this package. `css` is
    appended to the common style. The Content-Security-Policy allows only the page's own scripts.
    """
    head = asset("theme.js")
    scripts = {sha256(head): head}
    body = library = None
    if chart is not None:
        body, library = asset("charts.js") + chart.script, plotly()
        scripts |= {sha256(body): body, library.sha256: ""}
    allowed = " ".join(f"'sha256-{digest}'" for digest in scripts)
    return str(
        _environment(package)
        .get_template(template)
        .render(
            content,
            policy=f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:",
            css=Markup(asset("report.css") + css),  # noqa: S704 - files of these packages, not input
            theme_js=Markup(head),  # noqa: S704 - as above
            chart=chart,
            chart_js=Markup(body or ""),  # noqa: S704 - as above
            plotly=library.packed if library else "",
            chart_data=Markup(script_json(chart.data)) if chart else "",  # noqa: S704 - it escapes the data
        )
    )


def timeline_chart(picture: Timeline) -> Chart | None:
    """Return the chart of a timeline; None when it has no panels."""
    return Chart("timeline-data", timeline_data(picture), asset("timeline.js")) if picture.panels else None


def timeline_data(picture: Timeline) -> dict[str, Any]:
    """Return the data of timeline.js: values with five significant digits, gaps as null."""
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


@functools.cache
def _environment(package: str) -> Environment:
    """Return an environment with the templates of a package and of `report`, and their filters."""
    packages = dict.fromkeys((package, PACKAGE))
    pages = Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("count", "ms", "seconds", "cores", "clean", "metric", "threshold_value", "evidence_value"):
        pages.filters[name] = getattr(words, name)
    pages.filters["after_what"] = after_what
    pages.filters["held"] = words.held
    pages.filters["alarm_headline"] = headline
    for alarm_filter in (first_page, advice_lines, break_even_lines, real_line, row_cells):
        pages.filters[alarm_filter.__name__] = alarm_filter
    pages.filters["prose"] = prose
    return pages
