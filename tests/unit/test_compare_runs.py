"""Two saved runs side by side: what is worse, what is chance, and what cannot be said."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from rushhour.errors import RunDataError
from rushhour.jobs.compare import Comparison, Judgement, compare_runs, read_measured
from rushhour.jobs.compare.render import HEADS, headline, markdown_comparison, terminal_comparison
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories
from tests.unit.histories import LIST
from tests.unit.saved_runs import ENVIRONMENT, noisy, save


def compared(folder: Path, before: History, after: History) -> Comparison:
    earlier = save(folder / "before", before)
    other = save(folder / "after", after)
    return compare_runs(read_measured(earlier), read_measured(other))


def judgement(comparison: Comparison, metric: str, endpoint: str | None = None) -> Judgement:
    (found,) = [
        change.judgement
        for change in comparison.changes
        if (change.metric, change.endpoint) == (metric, endpoint)
    ]
    return found


def test_two_runs_of_one_release_are_not_worse(tmp_path: Path) -> None:
    """Four pairs that differ by chance alone."""
    for seed in range(0, 8, 2):
        healthy = histories.healthy()
        result = compared(tmp_path / str(seed), noisy(healthy, seed), noisy(healthy, seed + 1))
        assert result.outcome == "not worse", headline(result)
        assert not result.differences


def test_a_slower_release_is_worse_where_it_is_slower(tmp_path: Path) -> None:
    healthy = histories.healthy()
    slow = noisy(healthy, 2, slower=1.6)
    only_list = dataclasses.replace(
        healthy,
        requests=tuple(
            new if new.endpoint == LIST else old
            for old, new in zip(noisy(healthy, 3).requests, slow.requests, strict=True)
        ),
    )
    result = compared(tmp_path, noisy(healthy, 1), only_list)
    assert result.outcome == "worse"
    assert judgement(result, "p50_ms", LIST) is Judgement.WORSE
    assert judgement(result, "p95_ms", LIST) is Judgement.WORSE
    assert judgement(result, "p95_ms", histories.SUMMARY) is not Judgement.WORSE
    assert f"p95  {LIST}" in headline(result)
    row = next(change for change in result.changes if (change.metric, change.endpoint) == ("p95_ms", LIST))
    assert isinstance(row.before, float)
    assert isinstance(row.after, float)
    assert row.low is not None
    assert row.high is not None
    assert 0 < row.low < row.after - row.before < row.high


def test_the_other_way_round_it_is_better(tmp_path: Path) -> None:
    healthy = histories.healthy()
    result = compared(tmp_path, noisy(healthy, 1, slower=1.6), noisy(healthy, 2))
    assert result.outcome == "not worse"
    assert judgement(result, "p95_ms") is Judgement.BETTER


def test_a_leak_is_worse_though_no_request_is_slower(tmp_path: Path) -> None:
    result = compared(tmp_path, histories.healthy(), histories.incident(timeouts=0))
    assert result.outcome == "worse"
    assert judgement(result, "leaked_connections") is Judgement.WORSE
    assert judgement(result, "observed") is Judgement.WORSE
    assert judgement(result, "queuepool_timeouts") is Judgement.SAME
    assert "leaked connections 0 -> 30" in headline(result)


def test_the_incident_against_the_hotfix_is_better(tmp_path: Path) -> None:
    result = compared(tmp_path, histories.incident(), histories.healthy())
    assert result.outcome == "not worse"
    assert judgement(result, "queuepool_timeouts") is Judgement.BETTER


def test_cpu_is_shown_and_does_not_decide(tmp_path: Path) -> None:
    healthy = histories.healthy()
    busy = dataclasses.replace(
        healthy,
        host=tuple(dataclasses.replace(item, cpu_cores=item.cpu_cores * 1.5) for item in healthy.host),
    )
    result = compared(tmp_path, healthy, busy)
    assert judgement(result, "replica_cpu_cores_mean") is Judgement.MORE
    assert result.outcome == "not worse"


def test_equal_runs_have_equal_intervals(tmp_path: Path) -> None:
    before, after = noisy(histories.healthy(), 1), noisy(histories.healthy(), 2)
    first = compared(tmp_path / "first", before, after)
    again = compared(tmp_path / "again", before, after)
    assert first.changes == again.changes
    assert any(change.low is not None for change in first.changes)


def test_warm_up_is_left_out(tmp_path: Path) -> None:
    healthy = histories.healthy()
    cold = tuple(
        histories.request_row(t_s, LIST, 40, 900, f.Outcome.OK)
        for t_s in range(int(histories.STARTED_S), int(histories.STARTED_S) + 10)
    )
    result = compared(tmp_path, healthy, dataclasses.replace(healthy, requests=(*healthy.requests, *cold)))
    assert judgement(result, "p99_ms", LIST) is Judgement.SAME


def test_what_ended_in_the_drain_counts(tmp_path: Path) -> None:
    """Those who waited thirty seconds end after the load, and are the point of it."""
    run = read_measured(save(tmp_path / "run", histories.incident()))
    assert run.verdict is not None
    failed = sum(second.server_errors for series in run.endpoints.values() for second in series)
    assert failed == run.verdict.metrics["http_5xx"]
    assert failed > 0


def test_differences_are_reported(tmp_path: Path) -> None:
    healthy = histories.healthy()
    earlier = save(tmp_path / "one", healthy)
    load = {"users": 800, "duration": 75.0, "think_time": 3.0}
    other = save(
        tmp_path / "other",
        healthy,
        histories.scenario(name="soak", release="1.1", load=load, data={"size": "medium"}),
        dataclasses.replace(ENVIRONMENT, cpu_count=8, limits={}),
    )
    assert compare_runs(read_measured(earlier), read_measured(other)).differences == (
        "scenario gate -> soak",
        "load.think_time 6 -> 3",
        "data.size small -> medium",
        "cpu_count 2 -> 8",
        "limit of replica: 0.5 cores by cgroup cpu.max -> none",
    )


def test_a_run_that_was_cut_short_says_nothing(tmp_path: Path) -> None:
    result = compared(tmp_path, histories.healthy(), histories.cut_short(histories.incident(), 60))
    assert result.outcome == "unknown"
    assert result.doubts[0].startswith("after is unknown: the run was cut short")
    assert headline(result) == result.doubts[0]


def test_too_few_seconds_say_nothing(tmp_path: Path) -> None:
    story = histories.Story(duration_s=14, users=80)
    story.requests(LIST, 30, 34)
    load = {"users": 80, "duration": 14.0, "warm_up": 3.0}
    run = read_measured(save(tmp_path / "run", story.history(), histories.scenario(load=load)))
    result = compare_runs(run, run)
    assert result.outcome == "unknown"
    assert "run has 11 s after its warm-up; at least 20 are needed" in result.doubts


def test_a_run_that_was_never_judged_says_nothing(tmp_path: Path) -> None:
    earlier = save(tmp_path / "one", histories.healthy())
    other = save(tmp_path / "other", histories.healthy(), judged=False)
    result = compare_runs(read_measured(earlier), read_measured(other))
    assert result.outcome == "unknown"
    assert result.doubts == (f"other was never judged; `rushhour judge {other.path}` does it",)


def test_without_the_agent_in_one_run_it_is_unknown(tmp_path: Path) -> None:
    """Nobody looked at the pools of the second: silence is not health."""
    scenario = histories.scenario(thresholds=("p95 < 400ms",), release="1.1.1")
    earlier = save(tmp_path / "one", histories.healthy(), scenario)
    other = save(tmp_path / "other", histories.without_agent(histories.healthy()), scenario)
    result = compare_runs(read_measured(earlier), read_measured(other))
    assert judgement(result, "leaked_connections") is Judgement.NO_DATA
    assert result.outcome == "unknown"


def test_rare_requests_have_no_percentile(tmp_path: Path) -> None:
    healthy = histories.healthy()
    rare = tuple(histories.request_row(t_s, "POST /login", 1, 500, f.Outcome.OK) for t_s in range(20, 70, 5))
    mixed = dataclasses.replace(healthy, requests=(*healthy.requests, *rare))
    result = compared(tmp_path, mixed, mixed)
    (row,) = [
        change for change in result.changes if (change.metric, change.endpoint) == ("p95_ms", "POST /login")
    ]
    assert (row.judgement, row.why) == (Judgement.NO_EVIDENCE, "10 answers; 200 are needed")


@pytest.mark.parametrize("name", ["requests.jsonl", "verdict.json", "environment.json"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    run = save(tmp_path / "run", histories.healthy())
    run.file(name).write_text('{"broken": 1}\n')
    with pytest.raises(RunDataError, match=name):
        read_measured(run)


def test_a_broken_histogram_is_an_error(tmp_path: Path) -> None:
    run = save(tmp_path / "run", histories.healthy())
    broken = dataclasses.replace(histories.healthy().requests[-1], latency="HISTFAAA")
    run.file("requests.jsonl").write_text(
        f'{{"t_s":70,"endpoint":"GET /","outcome":"ok","count":1,"latency":"{broken.latency}"}}\n'
    )
    with pytest.raises(RunDataError, match="not an HDR histogram"):
        read_measured(run)


def test_a_folder_that_is_no_run_directory_is_reported(tmp_path: Path) -> None:
    run = save(tmp_path / "run", histories.healthy())
    run.file("scenario.json").unlink()
    with pytest.raises(RunDataError, match="not a run directory"):
        read_measured(run)


def test_the_terminal_says_first_what_is_worse(tmp_path: Path) -> None:
    result = compared(tmp_path, histories.healthy(), histories.incident())
    console = Console(file=io.StringIO(), width=140, color_system=None)
    console.print(terminal_comparison(result))
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert told.startswith("WORSE  worse: observed healthy -> exhausted; queuepool timeouts 0 -> 15;")
    assert "blocks of" in told
    assert "99% interval" in HEADS


def test_markdown_has_a_row_per_change(tmp_path: Path) -> None:
    result = compared(tmp_path, histories.healthy(), histories.incident())
    lines = markdown_comparison(result.changes)
    assert len(lines) == 2 + len(result.changes)
    assert lines[2] == "| observed | healthy | exhausted |  |  | ❌ worse |"


def test_the_table_fits_eighty_columns(tmp_path: Path) -> None:
    result = compared(tmp_path, histories.healthy(), histories.incident())
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(terminal_comparison(result))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert LIST in lines  # a heading of its own
    (row,) = [line for line in lines if line.startswith("  leaked connections ")]
    assert row.split() == ["leaked", "connections", "0", "30", "worse"]
    assert not any("change" in line.split() for line in lines)  # dropped for want of room
