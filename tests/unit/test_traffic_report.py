"""A run's reports show how far its traffic lies from the log that it was modelled after."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from rushhour.cli import cli
from rushhour.jobs.traffic.after_run import compare_with_source
from rushhour.jobs.traffic.build import Asked
from rushhour.jobs.traffic.compare import compare
from rushhour.jobs.traffic.model import TrafficModel, read_model, to_json
from rushhour.jobs.traffic.outputs import MODEL, Outputs, write_into_run, write_outputs
from rushhour.jobs.traffic.scenario_text import ScenarioAsked
from rushhour.jobs.traffic.service import Service
from rushhour.judging.judge import judge_run, read_scenario, render_run
from rushhour.judging.saved import traffic_section
from rushhour.report.traffic import headline, judged
from rushhour.rundir import RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.rundir.traffic import TRAFFIC_FILE, Row, TrafficComparison
from rushhour.verdict.whole import check_of
from tests.unit import histories, saved_runs
from tests.unit.test_traffic_compare import write_log
from tests.unit.traffic_samples import START, modelled, shop_visits

VISITS = list(shop_visits(lasts_s=600, per_s=4))


@pytest.fixture(scope="module")
def model() -> TrafficModel:
    return modelled(VISITS)


def saved(path: Path, *, per_s: float = 4.0, folder: Path | None = None) -> RunDir:
    """A healthy run whose service logged visits; its locustfile lies in `folder`."""
    scenario = histories.scenario(release="1.1.1")
    if folder is not None:
        target = replace(scenario.target, root=str(folder.parent))
        load = replace(scenario.load, locustfile=f"{folder.name}/customers.py")
        scenario = replace(scenario, name="evening-peak", target=target, load=load)
    history = histories.healthy()
    events = tuple(
        replace(event, detail={"wall_s": START, "monotonic_s": 1.0}) if event.name == f.ANCHOR else event
        for event in history.events
    )
    run = saved_runs.save(path, replace(history, events=events), scenario)
    run.logs.mkdir()
    visits = shop_visits(lasts_s=300, per_s=per_s, seed=5)
    write_log(run.logs / "access.log", [one._replace(t=one.t - 150) for one in visits])
    return run


def row(source: float | None, run: float | None, *, chance: float = 0.0) -> Row:
    return Row("sessions", "sessions a minute", source, run, 0.05, "", chance)


@pytest.mark.parametrize(
    ("source", "run", "chance", "said"),
    [
        (100.0, 104.0, 0.0, "near"),
        (100.0, 104.0, 0.5, "near"),
        (100.0, 106.0, 0.0, "far"),
        (100.0, 106.0, 0.02, "may be chance"),
        (100.0, 94.0, 0.02, "may be chance"),
        (100.0, 92.0, 0.02, "far"),
        (None, 100.0, 0.02, "unknown"),
        (100.0, None, 0.02, "unknown"),
        (0.0, 3.0, 0.02, "unknown"),
    ],
)
def test_a_figure_is_far_only_where_chance_does_not_explain_it(
    source: float | None, run: float | None, chance: float, said: str
) -> None:
    assert judged(row(source, run, chance=chance)) == said


@pytest.mark.parametrize("seed", range(2, 8))
def test_a_short_run_of_the_same_customers_is_never_far(model: TrafficModel, seed: int) -> None:
    short = modelled(shop_visits(lasts_s=90, per_s=4, seed=seed), Asked(gap_s=1800))
    source = replace(model, arrivals=replace(model.arrivals, peak=modelled(VISITS[:2000]).arrivals.peak))
    rates = {one.kind: one for one in compare(source, short).rows if one.kind == "sessions"}
    assert rates["sessions"].ok is not False
    assert rates["sessions"].chance > 0.05


def test_a_long_run_of_fewer_customers_is_far(model: TrafficModel) -> None:
    fewer = modelled(shop_visits(lasts_s=1200, per_s=3, seed=9))
    assert compare(model, fewer).outcome == "far"


def test_the_page_and_the_summary_show_the_comparison(tmp_path: Path, model: TrafficModel) -> None:
    run = saved(tmp_path / "run")
    found = compare(model, modelled(shop_visits(lasts_s=600, per_s=3, seed=2)))
    judge_run(run)
    before = run.file("verdict.json").read_text(encoding="utf-8")
    assert "beside the access log" not in run.file("report.html").read_text(encoding="utf-8")
    said = write_into_run(found, run.path)
    assert f"wrote {run.file(TRAFFIC_FILE)}" in said
    page, summary = (run.file(name).read_text(encoding="utf-8") for name in ("report.html", "summary.md"))
    for text in (page, summary):
        assert "sessions a minute" in text
        assert "is far from its source" in text
    assert f'href="{TRAFFIC_FILE}"' in page
    assert run.file("verdict.json").read_text(encoding="utf-8") == before


@pytest.mark.parametrize("again", [judge_run, render_run], ids=["judge", "report"])
def test_judge_and_report_keep_the_section(
    tmp_path: Path, model: TrafficModel, again: Callable[[RunDir], object]
) -> None:
    run = saved(tmp_path / "run")
    write_into_run(compare(model, model), run.path)
    run.file("report.html").unlink()
    again(run)
    assert "The run&#39;s traffic is near its source" in run.file("report.html").read_text(encoding="utf-8")


def test_a_run_stays_whole_when_it_is_compared(tmp_path: Path, model: TrafficModel) -> None:
    run = saved(tmp_path / "run")
    whole = check_of("run", load_history(run))
    write_into_run(compare(model, model), run.path)
    assert check_of("run", load_history(run)) == whole


@pytest.mark.long
@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"rows": 3, "scale": 1}', '{"rows": [], "scale": 1, "version": 99}', "\0\0", None],
)
def test_a_comparison_that_cannot_be_read_leaves_the_run_judged(tmp_path: Path, content: str | None) -> None:
    run = saved(tmp_path / "run")
    if content is None:
        run.file(TRAFFIC_FILE).mkdir()
    else:
        run.file(TRAFFIC_FILE).write_text(content, encoding="utf-8")
    verdict = judge_run(run).verdict
    assert verdict.verdict != "unknown"
    section = traffic_section(run, verdict)
    assert section is not None
    assert section.found is None
    assert TRAFFIC_FILE in section.problem
    for name in ("report.html", "summary.md"):
        text = run.file(name).read_text(encoding="utf-8").replace("\\", "")
        assert "--compare makes it anew" in text


def test_an_unknown_verdict_makes_the_comparison_unknown(tmp_path: Path, model: TrafficModel) -> None:
    run = saved(tmp_path / "run")
    write_into_run(compare(model, model), run.path)
    verdict = replace(judge_run(run).verdict, verdict="unknown", reasons=("the machine was busy",))
    section = traffic_section(run, verdict)
    assert section is not None
    assert section.found is not None
    assert section.found.outcome == "unknown"
    assert "verdict is unknown" in headline(section.found)


def made(folder: Path, model: TrafficModel, *, scale: float = 1.0, name: str = "evening-peak") -> Path:
    write_outputs(model, Service(), ScenarioAsked(name, scale), Outputs(folder, force=True), None)
    return folder


def test_a_run_of_a_generated_scenario_is_compared_by_itself(tmp_path: Path, model: TrafficModel) -> None:
    run = saved(tmp_path / "run", folder=made(tmp_path / "traffic", model))
    judge_run(run)
    said = compare_with_source(run, read_scenario(run))
    assert said[0].startswith("Traffic  ")
    found = json.loads(run.file(TRAFFIC_FILE).read_text(encoding="utf-8"))
    assert (found["version"], found["source"], found["scale"]) == (1, "traffic.json", 1.0)
    rows = {one["what"]: one for one in found["rows"]}
    assert rows["POST /login"]["ok"] is not False
    assert rows["sessions a minute"]["ok"] is not False
    assert "Compared with traffic.json" in run.file("report.html").read_text(encoding="utf-8")


def test_the_scale_of_a_scenario_is_kept_with_the_model(tmp_path: Path, model: TrafficModel) -> None:
    folder = made(tmp_path / "traffic", model)
    made(folder, model, scale=2.0, name="double")
    assert read_model(folder / MODEL).scales == {"evening-peak": 1.0, "double": 2.0}
    made(folder, modelled(shop_visits(lasts_s=300, seed=8)), name="other")
    assert read_model(folder / MODEL).scales == {"other": 1.0}


@pytest.mark.parametrize(("options", "scale"), [((), 2.0), (("--scale", "1"), 1.0)])
def test_the_command_takes_the_scale_that_traffic_json_has(
    tmp_path: Path, model: TrafficModel, options: tuple[str, ...], scale: float
) -> None:
    folder = made(tmp_path / "traffic", model, scale=2.0)
    run = saved(tmp_path / "run", folder=folder)
    arguments = ["traffic", "--compare", str(folder / MODEL), str(run.path), *options]
    CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out")])
    written = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert written["scale"] == scale


def test_the_rates_of_a_scenario_of_unknown_scale_are_unknown(tmp_path: Path, model: TrafficModel) -> None:
    folder = made(tmp_path / "traffic", model, name="another")
    run = saved(tmp_path / "run", folder=folder)
    judge_run(run)
    compare_with_source(run, read_scenario(run))
    found = json.loads(run.file(TRAFFIC_FILE).read_text(encoding="utf-8"))
    assert found["scale"] is None
    rates = {one["kind"]: one["ok"] for one in found["rows"] if one["kind"] in ("sessions", "concurrency")}
    assert rates == {"sessions": None, "concurrency": None}
    assert "its rates are not compared" in run.file("summary.md").read_text(encoding="utf-8")


def test_a_model_of_an_older_version_has_no_scales(tmp_path: Path, model: TrafficModel) -> None:
    plain = json.loads(to_json(model))
    del plain["scales"]
    (tmp_path / MODEL).write_text(json.dumps(plain), encoding="utf-8")
    assert read_model(tmp_path / MODEL).scales == {}


@pytest.mark.parametrize("lacks", ["log", "model", "run", "clock"])
def test_a_comparison_that_cannot_be_made_is_said_and_fails_no_run(
    tmp_path: Path, model: TrafficModel, lacks: str
) -> None:
    folder = made(tmp_path / "traffic", model)
    run = saved(tmp_path / "run", folder=folder)
    judge_run(run)
    scenario = read_scenario(run)
    if lacks == "log":
        (run.logs / "access.log").unlink()
    elif lacks == "model":
        (folder / MODEL).write_text("{}", encoding="utf-8")
    elif lacks == "clock":
        events = run.file("events.jsonl")
        events.write_text(events.read_text(encoding="utf-8").replace("wall_s", "other_s"), encoding="utf-8")
    else:
        run.file("events.jsonl").write_bytes(b"\0\n")
    said = compare_with_source(run, scenario)
    assert "is unknown: " in said[0]
    assert not run.file(TRAFFIC_FILE).exists()


def test_other_runs_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "traffic").mkdir()
    run = saved(tmp_path / "run", folder=tmp_path / "traffic")
    assert compare_with_source(run, read_scenario(run)) == []


def test_a_run_directory_that_cannot_be_written_is_said(tmp_path: Path, model: TrafficModel) -> None:
    run = saved(tmp_path / "run")
    (run.path / f".{TRAFFIC_FILE}.tmp").mkdir()
    said = write_into_run(compare(model, model), run.path)
    assert said[0].startswith("the run's reports do not show the comparison: ")


def test_the_command_writes_into_the_run(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    write_log(log, VISITS)
    run = saved(tmp_path / "run")
    done = CliRunner().invoke(
        cli, ["traffic", "--compare", str(log), str(run.path), "--out", str(tmp_path / "out")]
    )
    assert done.exception is None or isinstance(done.exception, SystemExit)
    written = json.loads(run.file(TRAFFIC_FILE).read_text(encoding="utf-8"))
    beside = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert written == beside
    assert written["source"] == "an access log (combined)"
    assert "access.log" not in run.file(TRAFFIC_FILE).read_text(encoding="utf-8")


def test_hostile_names_in_a_comparison_are_shown_as_text(tmp_path: Path) -> None:
    run = saved(tmp_path / "run")
    evil = "GET /<script>alert(1)</script>|`x`\x1b[31m"
    rows = (Row("mix", evil, 0.5, 0.1, 2.0, "%"),)
    write_into_run(TrafficComparison(rows, 1.0), run.path)
    page, summary = (run.file(name).read_text(encoding="utf-8") for name in ("report.html", "summary.md"))
    assert "<script>alert(1)" not in page + summary
    assert "\x1b" not in page + summary
