"""Renders an alarm audit for the terminal and the page: pages, silences and advice (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from rushhour.alarms.audit import Audit
from rushhour.alarms.study import Study
from rushhour.report import words
from rushhour.report.alarm_picture import binned, picture
from rushhour.report.real_pages import terminal_real

LANE = 60  # width of a lane in the terminal, in characters
NAME = 17  # smallest width of the names before the lanes
BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class AlarmSection:
    """The alarm section of the page; `problem` says why policies could not be read."""

    study: Study | None
    picture: Markup | None = None
    problem: str = ""


def section(study: Study) -> AlarmSection:
    """Build the alarm section of an audit, with its picture."""
    return AlarmSection(study, picture(study))


def headline(study: Study) -> str:
    """Summarise the audit in a sentence."""
    if not study.failures:
        false = sum(audit.false_pages for audit in study.audits)
        return f"no request failed; {words.count(false)} false pages by {len(study.audits)} policies"
    silent = [audit for audit in study.audits if audit.sleeps]
    if not silent and (unknown := [audit for audit in study.audits if audit.unknown]):
        of = f"{len(unknown)} of {len(study.audits)}"
        return f"{words.count(study.failures)} failures; {of} policies are unknown"
    if not silent:
        return f"{words.count(study.failures)} failures, all announced by every policy"
    # A policy that paged and then fell silent is worse than one that never paged: people rely on it.
    paged = [audit for audit in silent if audit.pages]
    worst = max(paged or silent, key=lambda audit: audit.unannounced)
    return (
        f"{worst.policy.name}: {len(worst.pages)} page{'s' * (len(worst.pages) != 1)}, then "
        f"{words.seconds(worst.longest_s)} of silence; {words.count(worst.unannounced)} of "
        f"{words.count(study.failures)} failures unannounced"
    )


def terminal_alarms(name: str, study: Study) -> RenderableType:
    """Render the audit as a table, lanes over time and advice, under the title `name`."""
    columns = ("policy", "pages", "first page", "longest silence", "unannounced", "false")
    table = Table(*columns, box=None, pad_edge=False)
    for audit in study.audits:
        if audit.unknown:
            table.add_row(Text(audit.policy.name, "bold"), Text("unknown", "bold yellow"))
            continue
        table.add_row(
            Text(audit.policy.name, "bold"),
            str(len(audit.pages)),
            first_page(audit, study),
            words.seconds(audit.longest_s) if audit.silences else "-",
            Text(words.count(audit.unannounced), "bold red" if audit.sleeps else ""),
            str(audit.false_pages),
        )
    parts: list[RenderableType] = [
        Text.assemble(("\n" + name, "bold"), f"  {headline(study)}"),
        Text("; ".join(study.timeline.words), "dim"),
        Text(),
        table,
        Text(),
        _Lanes(study),
    ]
    if study.real:
        parts += [terminal_real(study.real), Text()]
    parts += [Text(line, "yellow") for line in unknown_lines(study)]
    parts += [Text(line) for line in advice_lines(study)]
    parts += [Text(line, "dim") for line in break_even_lines(study)]
    return Group(*parts)


class _Lanes:
    """Renders a lane over time for each policy; cuts a name only when the line is too short for it."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        longest = max((len(audit.policy.name) for audit in self._study.audits), default=0)
        name = max(NAME, min(longest, options.max_width - LANE - 1))
        lanes = Text()
        lanes.append(f"{'failures':<{name}} {_bars(self._study)}\n")
        for audit in self._study.audits:
            lane = _lane(audit, self._study.timeline.seconds)
            lanes.append(f"{audit.policy.name[:name]:<{name}} {lane}\n")
        lanes.append(f"{'':<{name}} ! page   = in alarm, no page   . silence   ? unknown\n", "dim")
        yield lanes


def first_page(audit: Audit, study: Study) -> str:
    """Format the time from the first failure to the first page; negative when the page came first."""
    if audit.unknown:
        return "unknown"
    if audit.first_page_s is None:
        return "never" if study.failures else "-"
    return words.seconds(audit.first_page_s)


def advice_lines(study: Study) -> Iterator[str]:
    """Describe each advised change with its effect and cost, then those that page in a healthy run."""
    evening = words.seconds(study.timeline.seconds)
    for advice in study.advice:
        left = advice.after.unannounced
        then = "no blind spot is left" if advice.closes else f"{words.count(left)} failures stay unannounced"
        costs = f"{_pages(advice.after)} in this incident, none in {evening} of health"
        yield f"{advice.before.policy.name}: {advice.change}; replayed: {costs}, {then}"
    for refusal in study.refused:
        pages = refusal.healthy.unknown or f"{_pages(refusal.healthy)} in {evening} of health"
        yield f"{refusal.before.policy.name}: not advised: {refusal.change}; replayed: {pages}"


def _pages(audit: Audit) -> str:
    return f"{len(audit.pages)} page{'s' * (len(audit.pages) != 1)}"


def unknown_lines(study: Study) -> Iterator[str]:
    """Say why a policy is unknown, for each that could not be replayed."""
    for audit in study.audits:
        if audit.unknown:
            yield f"{audit.policy.name} is unknown: {audit.unknown}"


def break_even_lines(study: Study) -> Iterator[str]:
    """State for each burn-rate alert the request rate below which these failures trigger it."""
    for alert, rate in study.break_even():
        fires = "it fires once its windows are full" if study.requests_per_minute < rate else "it never fires"
        yield (
            f"{alert.name}: {study.failures_per_minute:.1f} failures a minute trigger it below {rate:,.0f} "
            f"requests a minute; this run had {study.requests_per_minute:,.0f}: {fires}"
        )


def _bars(study: Study) -> str:
    bins = binned(study.timeline.failures, LANE)
    most = max(bins) or 1
    return "".join(BARS[0 if not total else 1 + round(total / most * (len(BARS) - 2))] for total in bins)


def _lane(audit: Audit, seconds: int) -> str:
    marks = ["?" if audit.unknown else " "] * LANE

    def place(start_s: float, end_s: float, mark: str) -> None:
        first, last = int(start_s * LANE / seconds), int(max(start_s, end_s - 1e-9) * LANE / seconds)
        for at in range(max(0, first), min(LANE, last + 1)):
            marks[at] = mark

    for silence in audit.silences:
        place(silence.start_s, silence.end_s, ".")
    for start_s, end_s in audit.firing:
        place(start_s, end_s, "=")
    for page in audit.pages:
        place(page.t_s, page.t_s, "!")
    return "".join(marks)
