"""The alarm audit in the terminal and on the page: who was paged, and where nobody was told (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.alarms.audit import Audit
from rushhour.alarms.study import Study
from rushhour.report import words
from rushhour.report.alarm_picture import binned, picture
from rushhour.report.real_pages import terminal_real

LANE = 60  # characters of a lane in the terminal
BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class AlarmSection:
    """What the page shows of the audit; `problem` where the policies could not be read."""

    study: Study | None
    picture: Markup | None = None
    problem: str = ""


def section(study: Study) -> AlarmSection:
    """The audit with its picture."""
    return AlarmSection(study, picture(study))


def headline(study: Study) -> str:
    """The audit in a sentence."""
    if not study.failures:
        false = sum(one.false_pages for one in study.audits)
        return f"no request failed; {words.count(false)} false pages by {len(study.audits)} policies"
    sleepers = [one for one in study.audits if one.sleeps]
    if not sleepers and (unknown := [one for one in study.audits if one.unknown]):
        of = f"{len(unknown)} of {len(study.audits)}"
        return f"{words.count(study.failures)} failures; {of} policies are unknown"
    if not sleepers:
        return f"{words.count(study.failures)} failures, and every policy keeps telling of them"
    told = [one for one in sleepers if one.pages]  # worse than one that never spoke: it was relied on
    worst = max(told or sleepers, key=lambda one: one.unannounced)
    return (
        f"{worst.policy.name}: {len(worst.pages)} page{'s' * (len(worst.pages) != 1)}, then "
        f"{words.seconds(worst.longest_s)} of silence; {words.count(worst.unannounced)} of "
        f"{words.count(study.failures)} failures unannounced"
    )


def terminal_alarms(name: str, study: Study) -> RenderableType:
    """A table, lanes over time, and the changes that close the blind spots."""
    columns = ("policy", "pages", "first page", "longest silence", "unannounced", "false")
    table = Table(*columns, box=None, pad_edge=False)
    for one in study.audits:
        if one.unknown:
            table.add_row(Text(one.policy.name, "bold"), Text("unknown", "bold yellow"))
            continue
        table.add_row(
            Text(one.policy.name, "bold"),
            str(len(one.pages)),
            first_page(one, study),
            words.seconds(one.longest_s) if one.silences else "-",
            Text(words.count(one.unannounced), "bold red" if one.sleeps else ""),
            str(one.false_pages),
        )
    lanes = Text()
    lanes.append(f"{'failures':<18}{_bars(study)}\n")
    for one in study.audits:
        lanes.append(f"{one.policy.name[:17]:<18}{_lane(one, study.timeline.seconds)}\n")
    lanes.append(f"{'':<18}! page   = in alarm, and silent   . nobody was told   ? unknown\n", "dim")
    parts: list[RenderableType] = [
        Text.assemble(("\n" + name, "bold"), f"  {headline(study)}"),
        Text("; ".join(study.timeline.words), "dim"),
        Text(),
        table,
        Text(),
        lanes,
    ]
    if study.real:
        parts += [terminal_real(study.real), Text()]
    parts += [Text(line, "yellow") for line in unknown_lines(study)]
    parts += [Text(line) for line in advice_lines(study)]
    parts += [Text(line, "dim") for line in break_even_lines(study)]
    return Group(*parts)


def first_page(one: Audit, study: Study) -> str:
    """After the first failure; a policy that saw it coming has a minus."""
    if one.unknown:
        return "unknown"
    if one.first_page_s is None:
        return "never" if study.failures else "-"
    return words.seconds(one.first_page_s)


def advice_lines(study: Study) -> Iterator[str]:
    """Each change, what it would have done, and what it costs; then the changes that page in health."""
    evening = words.seconds(study.timeline.seconds)
    for one in study.advice:
        left = one.after.unannounced
        then = "no blind spot is left" if one.closes else f"{words.count(left)} failures stay unannounced"
        costs = f"{_pages(one.after)} in this incident, none in {evening} of health"
        yield f"{one.before.policy.name}: {one.change}; replayed: {costs}, {then}"
    for one in study.refused:
        pages = one.healthy.unknown or f"{_pages(one.healthy)} in {evening} of health"
        yield f"{one.before.policy.name}: not advised: {one.change}; replayed: {pages}"


def _pages(one: Audit) -> str:
    return f"{len(one.pages)} page{'s' * (len(one.pages) != 1)}"


def unknown_lines(study: Study) -> Iterator[str]:
    """Why nothing can be told of a policy."""
    for one in study.audits:
        if one.unknown:
            yield f"{one.policy.name} is unknown: {one.unknown}"


def break_even_lines(study: Study) -> Iterator[str]:
    """Why a burn-rate alert slept or not: the traffic below which these failures set it off."""
    for alert, rate in study.break_even():
        catches = (
            "they do, once its windows are full" if study.requests_per_minute < rate else "they never do"
        )
        yield (
            f"{alert.name}: {study.failures_per_minute:.1f} failures a minute set it off below {rate:,.0f} "
            f"requests a minute; here were {study.requests_per_minute:,.0f}: {catches}"
        )


def _bars(study: Study) -> str:
    bins = binned(study.timeline.failures, LANE)
    most = max(bins) or 1
    return "".join(BARS[0 if not one else 1 + round(one / most * (len(BARS) - 2))] for one in bins)


def _lane(one: Audit, seconds: int) -> str:
    marks = ["?" if one.unknown else " "] * LANE

    def place(start_s: float, end_s: float, mark: str) -> None:
        first, last = int(start_s * LANE / seconds), int(max(start_s, end_s - 1e-9) * LANE / seconds)
        for at in range(max(0, first), min(LANE, last + 1)):
            marks[at] = mark

    for silence in one.silences:
        place(silence.start_s, silence.end_s, ".")
    for start_s, end_s in one.firing:
        place(start_s, end_s, "=")
    for page in one.pages:
        place(page.t_s, page.t_s, "!")
    return "".join(marks)
