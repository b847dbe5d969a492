"""The picture of an alarm audit: failures over time, and a lane for each policy under them (pure)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from markupsafe import Markup

from rushhour.alarms.audit import Audit
from rushhour.alarms.study import Study
from rushhour.report import words

WIDTH, LEFT, TOP, LANE_PX, BINS = 1080, 150, 84, 30, 180
SAID: Final = "Failures over time, and what each policy told of them; the table holds the numbers"


def binned(values: Sequence[float | None], count: int) -> list[float]:
    """Sums over `count` equal parts of the time."""
    bins = [0.0] * count
    for t_s, value in enumerate(values):
        bins[min(count - 1, t_s * count // max(1, len(values)))] += value or 0
    return bins


def picture(study: Study) -> Markup:
    """Failures over time with each policy's lane under them, as SVG in the page's own colours."""
    seconds, bins = study.timeline.seconds, binned(study.timeline.failures, BINS)
    most, step = max(bins) or 1, (WIDTH - LEFT) / BINS
    height = TOP + LANE_PX * len(study.audits) + 26

    def x(t_s: float) -> float:
        return round(LEFT + t_s / seconds * (WIDTH - LEFT), 1)

    parts = [
        f'<svg class="alarms" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{SAID}">',
        f'<text x="0" y="{TOP - 14}">failures</text>',
    ]
    for at, value in enumerate(bins):
        tall = round(value / most * (TOP - 20), 1)
        if value:
            place = f'x="{LEFT + at * step:.1f}" y="{TOP - 8 - tall:.1f}" width="{max(1.0, step - 1):.1f}"'
            parts.append(f'<rect class="failed" {place} height="{tall}"/>')
    for row, one in enumerate(study.audits):
        parts += _svg_lane(one, TOP + LANE_PX * row, x)
    for part in range(7):
        t_s = seconds * part / 6
        anchor = "end" if part == 6 else "middle" if part else "start"
        parts.append(
            f'<text class="tick" x="{x(t_s)}" y="{height - 6}" text-anchor="{anchor}">{_clock(t_s)}</text>'
        )
    parts.append("</svg>")
    return Markup("").join(Markup(part) for part in parts)  # noqa: S704  # numbers, and names that were escaped


def _svg_lane(one: Audit, y: int, x: Callable[[float], float]) -> Iterator[str]:
    yield f'<text x="0" y="{y + 16}">{Markup.escape(words.clean(one.policy.name))}</text>'
    yield f'<line class="base" x1="{LEFT}" x2="{WIDTH}" y1="{y + 12}" y2="{y + 12}"/>'
    if one.unknown:
        yield f'<text class="tick" x="{LEFT + 6}" y="{y + 8}">unknown</text>'
    for silence in one.silences:
        wide = max(1.0, x(silence.end_s) - x(silence.start_s))
        said = f"{words.seconds(silence.seconds)} of silence, {silence.failures} failures"
        place = f'x="{x(silence.start_s)}" y="{y}" width="{wide:.1f}" height="24"'
        yield f'<rect class="silent" {place}><title>{said}</title></rect>'
    for start_s, end_s in one.firing:
        wide = max(1.0, x(end_s) - x(start_s))
        place = f'x="{x(start_s)}" y="{y + 8}" width="{wide:.1f}" height="8"'
        yield f'<rect class="firing" {place}><title>in alarm</title></rect>'
    for page in one.pages:
        said = f"{page.kind.value} at {_clock(page.t_s)}"
        yield f'<circle class="page" cx="{x(page.t_s)}" cy="{y + 12}" r="5"><title>{said}</title></circle>'


def _clock(t_s: float) -> str:
    whole = round(t_s)
    if whole >= 3600:
        return f"{whole // 3600}:{whole // 60 % 60:02} h"
    return f"{whole // 60}:{whole % 60:02}"
