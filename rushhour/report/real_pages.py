"""Renders real pages with their predictions for the terminal and the page (pure)."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.alarms.real_pages import ABSENT, AS_PREDICTED, TOO_LATE, BesideReal, Row
from rushhour.report import words


def terminal_real(real: Sequence[BesideReal]) -> RenderableType:
    """Render a line for each policy, and a table of the notifications."""
    parts: list[RenderableType] = [Text(), Text("Real pages", "bold underline")]
    parts += [
        Text(words.clean(real_line(compared)), "" if compared.as_predicted else "bold yellow")
        for compared in real
    ]
    table = Table(box=None, pad_edge=False)
    for name in ("policy", "kind", "alerts"):
        table.add_column(name, overflow="fold")
    for name in ("predicted", "real", "later by", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for compared in real:
        for row in compared.rows:
            kind, alerts, group, *times = (words.clean(cell) for cell in row_cells(row))
            what = alerts if group == words.UNKNOWN else f"{alerts} {group}"
            table.add_row(
                words.clean(compared.policy),
                kind,
                what,
                *times,
                style="" if row.state == AS_PREDICTED else "yellow",
            )
    return Group(*parts, table) if table.rows else Group(*parts)


def real_line(compared: BesideReal) -> str:
    """Summarise the real and predicted notifications of a policy in a sentence."""
    name, rows = compared.policy, compared.rows
    if compared.unknown:
        return f"{name}: {len(rows)} came; whether as predicted is unknown, since {compared.unknown}"
    if not rows:
        return f"{name}: no notification was predicted, and none came"
    matched = sum(row.state == AS_PREDICTED for row in rows)
    due = sum(row.predicted_s is not None and row.state != TOO_LATE for row in rows)
    came = sum(row.real_s is not None for row in rows)
    text = f"{name}: {came} came, {due} were predicted, {matched} of them as predicted"
    if not compared.in_order:
        text += ", in another order"
    if absent := sum(row.state == ABSENT for row in rows):
        text += f", {absent} never came"
    return f"{text} (within {compared.within_s:g} s)"


def row_cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a notification: kind, alerts, group, predicted, real, difference and state."""
    off = words.UNKNOWN if row.off_s is None else f"{row.off_s:+.1f} s"
    times = (words.seconds(row.predicted_s), words.seconds(row.real_s))
    return (row.kind.value, row.alerts, row.group or words.UNKNOWN, *times, off, row.state)
