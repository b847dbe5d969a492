"""Draws an alarm audit as SVG: failures over time, with a lane per policy below (pure)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from markupsafe import Markup

from rushhour.alarms.audit import Audit
from rushhour.alarms.study import Study
from rushhour.report import words

WIDTH, LEFT, TOP, LANE_PX, BINS = 1080, 150, 84, 30, 180
LABEL: Final = "Failures over time, and the pages and silences of each policy; the table holds the numbers"


def binned(values: Sequence[float | None], count: int) -> list[float]:
    """Sum values, one per second, into `count` bins of equal length; None counts as 0."""
    bins = [0.0] * count
    for t_s, value in enumerate(values):
        bins[min(count - 1, t_s * count // max(1, len(values)))] += value or 0
    return bins


def picture(study: Study) -> Markup:
    """Draw the audit as SVG that takes its colours from the page's CSS."""
    seconds, bins = study.timeline.seconds, binned(study.timeline.failures, BINS)
    most, step = max(bins) or 1, (WIDTH - LEFT) / BINS
    height = TOP + LANE_PX * len(study.audits) + 26

    def x(t_s: float) -> float:
        return round(LEFT + t_s / seconds * (WIDTH - LEFT), 1)

    parts = [
        f'<svg class="alarms" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{LABEL}">',
        f'<text x="0" y="{TOP - 14}">failures</text>',
    ]
    for at, value in enumerate(bins):
        tall = round(value / most * (TOP - 20), 1)
        if value:
            place = f'x="{LEFT + at * step:.1f}" y="{TOP - 8 - tall:.1f}" width="{max(1.0, step - 1):.1f}"'
            parts.append(f'<rect class="failed" {place} height="{tall}"/>')
    for row, audit in enumerate(study.audits):
        parts += _svg_lane(audit, TOP + LANE_PX * row, x)
    for part in range(7):
        t_s = seconds * part / 6
        anchor = "end" if part == 6 else "middle" if part else "start"
        parts.append(
            f'<text class="tick" x="{x(t_s)}" y="{height - 6}" text-anchor="{anchor}">{_clock(t_s)}</text>'
        )
    parts.append("</svg>")
    return Markup("").join(Markup(part) for part in parts)  # noqa: S704  # numbers and escaped names


def _svg_lane(audit: Audit, y: int, x: Callable[[float], float]) -> Iterator[str]:
    yield f'<text x="0" y="{y + 16}">{Markup.escape(words.clean(audit.policy.name))}</text>'
    yield f'<line class="base" x1="{LEFT}" x2="{WIDTH}" y1="{y + 12}" y2="{y + 12}"/>'
    if audit.unknown:
        yield f'<text class="tick" x="{LEFT + 6}" y="{y + 8}">unknown</text>'
    for silence in audit.silences:
        wide = max(1.0, x(silence.end_s) - x(silence.start_s))
        title = f"{words.seconds(silence.seconds)} of silence, {silence.failures} failures"
        place = f'x="{x(silence.start_s)}" y="{y}" width="{wide:.1f}" height="24"'
        yield f'<rect class="silent" {place}><title>{title}</title></rect>'
    for start_s, end_s in audit.firing:
        wide = max(1.0, x(end_s) - x(start_s))
        place = f'x="{x(start_s)}" y="{y + 8}" width="{wide:.1f}" height="8"'
        yield f'<rect class="firing" {place}><title>in alarm</title></rect>'
    for page in audit.pages:
        title = f"{page.kind.value} at {_clock(page.t_s)}"
        yield f'<circle class="page" cx="{x(page.t_s)}" cy="{y + 12}" r="5"><title>{title}</title></circle>'


def _clock(t_s: float) -> str:
    whole = round(t_s)
    if whole >= 3600:
        return f"{whole // 3600}:{whole // 60 % 60:02} h"
    return f"{whole // 60}:{whole % 60:02}"
