"""Real pages beside the predicted ones, in the terminal and as the page's cells (pure)."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.alarms.real_pages import ABSENT, AS_PREDICTED, TOO_LATE, BesideReal, Row
from rushhour.report import words


def terminal_real(real: Sequence[BesideReal]) -> RenderableType:
    """A line for each policy, and a table of the notifications."""
    parts: list[RenderableType] = [Text(), Text("Real pages", "bold underline")]
    parts += [
        Text(words.clean(real_line(one)), "bold yellow" if not one.as_predicted else "") for one in real
    ]
    table = Table(box=None, pad_edge=False)
    for name in ("policy", "told", "alerts"):
        table.add_column(name, overflow="fold")
    for name in ("predicted", "real", "later by", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for one in real:
        for row in one.rows:
            told, alerts, group, *times = (words.clean(cell) for cell in row_cells(row))
            what = alerts if group == words.UNKNOWN else f"{alerts} {group}"
            table.add_row(
                words.clean(one.policy),
                told,
                what,
                *times,
                style="" if row.state == AS_PREDICTED else "yellow",
            )
    return Group(*parts, table) if table.rows else Group(*parts)


def real_line(one: BesideReal) -> str:
    """One policy in a sentence."""
    if one.unknown:
        return f"{one.policy}: {len(one.rows)} came; whether as predicted is unknown, since {one.unknown}"
    if not one.rows:
        return f"{one.policy}: no notification was predicted, and none came"
    matched = sum(row.state == AS_PREDICTED for row in one.rows)
    due = sum(row.predicted_s is not None and row.state != TOO_LATE for row in one.rows)
    came = sum(row.real_s is not None for row in one.rows)
    told = f"{one.policy}: {came} came, {due} were predicted, {matched} of them as predicted"
    if not one.in_order:
        told += ", in another order"
    if absent := sum(row.state == ABSENT for row in one.rows):
        told += f", {absent} never came"
    return f"{told} (within {one.within_s:g} s)"


def row_cells(row: Row) -> tuple[str, ...]:
    """All but the policy's name."""
    off = words.UNKNOWN if row.off_s is None else f"{row.off_s:+.1f} s"
    times = (words.seconds(row.predicted_s), words.seconds(row.real_s))
    return (row.kind.value, row.alerts, row.group or words.UNKNOWN, *times, off, row.state)
