"""Draws a forecast as SVG: the customers of the day, its pushes, and when the pool is exhausted (pure)."""

from typing import Final

from markupsafe import Markup

from rushhour.forecast.words import clock_words, duration_words
from rushhour.scenario.day import clock_of
from rushhour.verdict.forecast import Forecast

WIDTH, HEIGHT, LEFT, TOP, FOOT = 1080, 190, 70, 22, 26
LABEL: Final = "Customers over the day, pushes, and when the pool is exhausted; the table holds the numbers"


def picture(made: Forecast) -> Markup | None:
    """Draw the day of a forecast, in the colours of the page's CSS; None for a day without a curve."""
    if not made.curve:
        return None
    length_s = made.curve[-1][0]
    most = max(customers for _, customers in made.curve)

    def x(t_s: float) -> float:
        return round(LEFT + t_s / length_s * (WIDTH - LEFT), 1)

    def y(customers: float) -> float:
        return round(HEIGHT - FOOT - customers / most * (HEIGHT - FOOT - TOP), 1)

    line = " ".join(f"{x(t_s)},{y(customers)}" for t_s, customers in made.curve)
    base = HEIGHT - FOOT
    parts = [
        f'<svg class="forecast" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{LABEL}">',
        f'<text x="0" y="{y(most) + 4}">{most:,.0f}</text><text x="0" y="{base}">0</text>',
        f'<polygon class="customers" points="{x(0)},{base} {line} {x(length_s)},{base}"/>',
    ]
    parts += [
        f'<line class="push" x1="{x(push_s)}" x2="{x(push_s)}" y1="{TOP}" y2="{base}">'
        "<title>push notification</title></line>"
        for push_s in made.pushes_s
    ]
    if (when := made.exhausted_after_s) is not None:
        low, high = x(min(when.low, length_s)), x(min(when.high, length_s))
        parts.append(
            f'<rect class="gone" x="{low}" y="{TOP}" width="{max(2.0, high - low):.1f}" '
            f'height="{base - TOP}">'
            "<title>exhausted, 80 % interval</title></rect>"
        )
        at = x(min(when.expected, length_s))
        words = Markup.escape(f"exhausted {clock_words(made, when.expected)}")
        anchor = "end" if at > WIDTH * 3 / 4 else "start"
        parts.append(f'<line class="gone" x1="{at}" x2="{at}" y1="{TOP}" y2="{base}"/>')
        parts.append(f'<text x="{at}" y="{TOP - 8}" text-anchor="{anchor}">{words}</text>')
    for part in range(5):
        t_s = length_s * part / 4
        anchor = "end" if part == 4 else "middle" if part else "start"
        label = duration_words(t_s) if made.starts_s is None else clock_of(made.starts_s + t_s)
        parts.append(
            f'<text class="tick" x="{x(t_s)}" y="{HEIGHT - 6}" text-anchor="{anchor}">{label}</text>'
        )
    parts.append("</svg>")
    return Markup("").join(Markup(part) for part in parts)  # noqa: S704 - numbers and escaped words
