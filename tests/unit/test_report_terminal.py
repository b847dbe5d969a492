"""Tests of the terminal summary, the live view and the progress of steps."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from rushhour.diagnosis import Diagnosis
from rushhour.observe.live_state import LiveState, PoolGauge
from rushhour.report.terminal import comparison, summary
from rushhour.screen.live_view import PlainLive, plain_line, pool_bar, render_live
from rushhour.screen.progress import PlainProgress, RichProgress, amount
from tests.unit import sample_run

SCENARIO = sample_run.sample_scenario(Path())
VERDICT = sample_run.sample_verdict()
FULL = PoolGauge("replica", checked_out=30, capacity=30, waiting=4, leaked=30, timeouts=3)
STATE = LiveState(
    elapsed_s=43,
    users=800,
    rps=104.4,
    server_errors_per_s=1.0,
    requests=3210,
    server_errors=3,
    pools=(FULL, PoolGauge("primary", 3, 30, 0, 0, 0)),
    cpu_cores={"primary": 0.21, "replica": 0.49, "generator": 0.2},
    cpu_limits={"replica": 0.5},
    moments=("24.4 s  pool replica full: 30 of 30, 30 leaked",),
)


def shown(what: RenderableType, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(what)
    file = console.file
    assert isinstance(file, io.StringIO)
    lines = file.getvalue().splitlines()
    assert all(cell_len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


def test_the_summary_starts_with_the_headline_and_ends_with_the_report(tmp_path: Path) -> None:
    sample = sample_run.build(tmp_path)
    lines = shown(summary(sample.verdict, sample.scenario, Path("runs/1")), width=200)
    assert lines[0] == f"PASS  {sample.verdict.headline}"
    assert "    9 │ rows = session.scalars(heavy_join(customer_id)).all()" in lines
    assert "  app/queries.py:9 list_referrals  GET /customers/:id/referrals" in lines
    assert lines[-1] == "Report  runs/1/report.html"
    assert ["failed", "pool_in_use_max", "<", "80%", "100%"] in [line.split() for line in lines]
    assert any(line.split()[:2] == ["no", "data"] for line in lines)


def test_the_summary_names_a_missing_source_file(tmp_path: Path) -> None:
    lines = shown(summary(VERDICT, SCENARIO, Path("runs/1"), tmp_path))
    assert "    app/queries.py could not be read: No such file or directory" in lines


def test_the_summary_prints_markup_as_text_and_replaces_control_characters() -> None:
    verdict = replace(
        VERDICT,
        headline="[bold red]x[/] \x1b[2J",
        reasons=("[/nothing]",),
        diagnosis=Diagnosis("none", "possible", "", ""),
    )
    lines = shown(summary(verdict, SCENARIO, Path("runs/1")))
    assert lines[0] == "PASS  [bold red]x[/] \N{REPLACEMENT CHARACTER}[2J"
    assert "• [/nothing]" in lines


def test_the_live_view_shows_pools_leaks_waiters_and_moments() -> None:
    lines = shown(render_live(STATE, SCENARIO))
    assert lines[0].startswith("rush-hour 1.1   104 req/s   3,210 requests   3 5xx (1.0/s)")
    rows = {" ".join(line.split()[:2]): line for line in lines[1:]}
    assert rows["pool replica"].endswith("30/30 (30 leaked) +4 waiting, 3 timed out")
    assert rows["pool primary"].endswith("3/30")
    assert rows["CPU replica"].endswith("0.49 of 0.50 cores")
    assert lines[-1] == "  24.4 s  pool replica full: 30 of 30, 30 leaked"


def test_the_live_view_without_data_shows_hyphens() -> None:
    lines = shown(render_live(LiveState(), SCENARIO))
    assert lines[0].startswith("rush-hour 1.1   - req/s")
    assert lines[2].endswith("- of 800")


@pytest.mark.parametrize(
    ("checked_out", "drawn"), [(0, "░" * 16), (1, "█" + "░" * 15), (29, "█" * 15 + "░"), (30, "█" * 16)]
)
def test_a_gauge_is_empty_only_at_zero_and_full_only_at_capacity(checked_out: int, drawn: str) -> None:
    assert pool_bar(replace(FULL, checked_out=checked_out, leaked=0)).plain == drawn


def test_the_plain_live_view_writes_a_line_every_five_seconds_and_one_per_moment() -> None:
    lines: list[str] = []
    now = [0.0]
    live = PlainLive(SCENARIO, lines.append, every_s=5.0, clock=lambda: now[0])
    quiet = replace(STATE, moments=())
    for at, state in ((0.0, quiet), (1.0, quiet), (2.0, STATE), (4.9, STATE), (5.0, STATE)):
        now[0] = at
        live(state)
    assert lines == [plain_line(STATE, SCENARIO), f"** {STATE.moments[0]}", plain_line(STATE, SCENARIO)]
    assert lines[0] == (
        "0:43/1:10 | 800 customers | 104 req/s | 5xx 3 | pool replica 30/30 (30 leaked) +4 waiting, "
        "3 timed out | pool primary 3/30 | CPU primary 0.21, replica 0.49/0.50"
    )


@pytest.mark.parametrize("width", [80, 120, 160])
def test_a_comparison_shows_every_figure_at_any_width(width: int) -> None:
    names = ("staging", "rush-hour", "rush-hour-primary", "rush-hour-hotfix", "gate")
    results = [
        (
            replace(SCENARIO, name=name),
            replace(VERDICT, scenario=name, metrics=VERDICT.metrics | {"requests": 1000 + at}),
        )
        for at, name in enumerate(names)
    ]
    text = "\n".join(shown(comparison(results), width))
    assert all(f"1,00{at}" in text for at in range(len(names)))
    assert text.count("30/30") == len(names)
    assert text.count("exhausted") == len(names)
    assert "…" not in text


def test_plain_progress_writes_a_line_at_start_at_intervals_and_at_the_end() -> None:
    out = io.StringIO()
    now = [0.0]
    progress = PlainProgress(Console(file=out, width=100), every_s=5.0, clock=lambda: now[0])
    for at, done in ((0.0, 0), (2.0, 400_000), (6.0, 1_200_000), (10.0, 2_000_000), (10.1, 2_000_000)):
        now[0] = at
        progress("seeding", done, 2_000_000, "rows")
    progress("replica")
    progress.close()
    assert out.getvalue().splitlines() == [
        "seeding",
        "  1.2 M of 2.0 M rows, 200,000 rows/s",
        "  2.0 M of 2.0 M rows in 10.0 s, 200,000 rows/s",
        "replica",
    ]
    assert amount(3, None, "files") == "3 files"


def test_rich_progress_completes_a_step_when_the_next_starts_and_can_close_twice() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    progress = RichProgress(console)
    progress.close()
    progress("initdb [primary]")
    progress("seeding", 500, 1000, "rows")
    progress.close()
    progress.close()
    file = console.file
    assert isinstance(file, io.StringIO)
    drawn = [line for line in file.getvalue().splitlines() if "━" in line]
    assert "✓ initdb [primary]" in drawn[-2]
    assert "✓" not in drawn[-1]
    assert "500 of 1,000 rows" in drawn[-1]
