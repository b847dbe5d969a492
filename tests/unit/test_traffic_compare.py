"""`rushhour traffic --compare` reads the access log that a run left, in the part that was measured."""

import functools
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rushhour.cli import cli
from rushhour.jobs.traffic.record import Logged
from rushhour.jobs.traffic.run_log import run_log
from rushhour.rundir import FactWriter, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import judge, verdict_json
from tests.unit import histories
from tests.unit.traffic_samples import START, shop_visits

LOG_FORMAT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(D)s'
LASTS_S = 1_000.0


def scenario(command: str = "", warm_up: float = 60.0) -> Scenario:
    plain = histories.scenario(release="1.1.1")
    return replace(
        plain,
        target=replace(plain.target, command=command or plain.target.command),
        load=replace(plain.load, warm_up=warm_up, duration=LASTS_S),
    )


def saved_run(path: Path, requests: Iterable[Logged], given: Scenario, *, timed: bool = False) -> Path:
    run = RunDir(path)
    path.mkdir(parents=True)
    run.write_json("scenario.json", given)
    writer = FactWriter(run)
    writer.write(
        [
            f.Event(0.0, f.ANCHOR, {"wall_s": START - 5.0, "monotonic_s": 1.0}),
            f.Event(5.0, f.LOAD_STARTED),
            f.Event(5.0 + LASTS_S, f.LOAD_ENDED),
            f.Event(7.0 + LASTS_S, f.DRAINED),
        ]
    )
    writer.close()
    run.write_json("verdict.json", verdict_json(judge(histories.scenario(), histories.healthy(), "embedded")))
    run.logs.mkdir()
    write_log(run.logs / "access.log", requests, timed=timed)
    return path


def write_log(path: Path, requests: Iterable[Logged], *, timed: bool = False) -> None:
    lines = []
    for one in sorted(requests, key=lambda each: each.t):
        ended = one.t + (one.seconds or 0.0)
        stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(ended))
        rest = f" {round((one.seconds or 0) * 1e6)}" if timed else ""
        request = f"{one.method} {one.path} HTTP/1.1"
        lines.append(f'127.0.0.1 - - [{stamp}] "{request}" {one.status} 9 "-" "app {one.visitor}"{rest}\n')
    path.write_text("".join(lines), encoding="utf-8")


def compared(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["traffic", "--compare", *map(str, arguments)], standalone_mode=False)
    return int(done.return_value or 0) if done.exception is None else 64, str(done.exception or "")


@functools.cache
def same_customers() -> tuple[Logged, ...]:
    return tuple(shop_visits(lasts_s=LASTS_S, per_s=4, seed=2))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "access.log"
    write_log(path, shop_visits(lasts_s=LASTS_S, per_s=4))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, log: Path) -> Path:
    """Return what the log was read as: it takes seconds to read."""
    out = tmp_path_factory.mktemp("model")
    made = CliRunner().invoke(cli, ["traffic", str(log), "--out", str(out)], standalone_mode=False)
    assert made.exception is None
    return out / "traffic.json"


def test_a_run_of_the_same_customers_is_near(tmp_path: Path, log: Path) -> None:
    run = saved_run(tmp_path / "run", same_customers(), scenario())
    assert compared(log, run, "--out", tmp_path / "out") == (0, "")
    assert (tmp_path / "out" / "comparison.html").is_file()


def test_the_source_may_be_the_model_of_the_log(tmp_path: Path, model: Path) -> None:
    run = saved_run(tmp_path / "run", same_customers(), scenario())
    assert compared(model, run, "--out", tmp_path / "out")[0] == 0


@pytest.mark.parametrize(
    "other", [{"per_s": 3.0}, {"think_s": 13.0}, {"back": 0.2}], ids=["fewer", "slower", "shorter"]
)
def test_a_run_of_other_customers_is_far(tmp_path: Path, model: Path, other: dict[str, Any]) -> None:
    visits = shop_visits(**{"lasts_s": LASTS_S, "per_s": 4.0, "seed": 2} | other)
    run = saved_run(tmp_path / "run", visits, scenario())
    assert compared(model, run, "--out", tmp_path / "out")[0] == 1


@pytest.mark.long
def test_twice_the_customers_are_near_at_twice_the_scale(tmp_path: Path, log: Path) -> None:
    run = saved_run(tmp_path / "run", shop_visits(lasts_s=LASTS_S, per_s=8, seed=3), scenario())
    assert compared(log, run, "--out", tmp_path / "out", "--scale", "2")[0] == 0
    assert compared(log, run, "--out", tmp_path / "out")[0] == 1


def test_a_run_whose_verdict_is_unknown_says_nothing(tmp_path: Path, model: Path) -> None:
    run = saved_run(tmp_path / "run", shop_visits(lasts_s=LASTS_S, per_s=3, seed=2), scenario())
    judged = judge(scenario(), load_history(RunDir(run)), "embedded")
    assert judged.verdict == "unknown"  # no request was recorded
    RunDir(run).write_json("verdict.json", verdict_json(judged))
    assert compared(model, run, "--out", tmp_path / "out")[0] == 2
    assert judged.reasons[0][:20] in (tmp_path / "out" / "comparison.json").read_text(encoding="utf-8")


def test_a_run_whose_verdict_is_gone_says_nothing(tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run", shop_visits(lasts_s=60, per_s=3), scenario())
    assert run_log(run).doubts == ()
    (run / "verdict.json").unlink()
    [doubt] = run_log(run).doubts
    assert "no verdict.json" in doubt


def test_a_run_whose_access_log_lost_a_part_says_nothing(tmp_path: Path, model: Path) -> None:
    visits = same_customers()
    run = RunDir(saved_run(tmp_path / "run", visits, scenario()))
    writer = FactWriter(run)
    writer.write(
        f.RequestCount(5 + at, "GET /", f.Outcome.OK, round(len(visits) / LASTS_S), "") for at in range(1000)
    )
    writer.close()
    assert run_log(run.path).doubts == ()
    lines = (run.logs / "access.log").read_text(encoding="utf-8").splitlines(keepends=True)
    (run.logs / "access.log").write_text("".join(lines[::2]), encoding="utf-8")
    [doubt] = run_log(run.path).doubts
    assert f"access.log has {len(lines[::2]):,} lines" in doubt
    assert compared(model, run.path, "--out", tmp_path / "out") == (2, "")


def test_a_run_that_lost_requests_says_nothing_about_its_access_log(tmp_path: Path) -> None:
    run = RunDir(saved_run(tmp_path / "run", same_customers(), scenario()))
    writer = FactWriter(run)
    writer.write(f.RequestCount(5 + at, "GET /", f.Outcome.OK, 1, "") for at in range(1000))
    writer.close()
    rows = run.file("requests.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    run.file("requests.jsonl").write_text("".join(rows[:500]), encoding="utf-8")
    [doubt] = run_log(run.path).doubts
    assert doubt.startswith("requests.jsonl: holds 500 of the 1,000 rows")


@pytest.mark.long
def test_the_warm_up_of_the_run_is_left_out(tmp_path: Path, log: Path) -> None:
    rush = [one for one in shop_visits(lasts_s=50, per_s=30, seed=4, think_s=1) if one.t < START + 50]
    usual = shop_visits(lasts_s=LASTS_S, per_s=4, seed=2)
    run = saved_run(
        tmp_path / "run", [*(one._replace(visitor=f"r{one.visitor}") for one in rush), *usual], scenario()
    )
    assert compared(log, run, "--out", tmp_path / "out")[0] == 0


def test_the_log_format_of_the_run_is_that_of_its_command(tmp_path: Path) -> None:
    command = f"gunicorn app --bind {{host}}:{{port}} --access-logformat '{LOG_FORMAT}'"
    run = saved_run(tmp_path / "run", shop_visits(lasts_s=300), scenario(command), timed=True)
    assert run_log(run).log_format == LOG_FORMAT
    assert run_log(run).since == START + 60


def test_a_run_without_an_access_log_says_so(tmp_path: Path, log: Path) -> None:
    run = saved_run(tmp_path / "run", [], scenario())
    (run / "logs" / "access.log").unlink()
    code, said = compared(log, run, "--out", tmp_path / "out")
    assert code == 64
    assert "the run has no access log" in said


def test_what_is_no_run_is_refused_before_the_source_is_read(tmp_path: Path, log: Path) -> None:
    unread = tmp_path / "unread.log"  # it would be read after the run only
    assert "no such run directory" in compared(unread, tmp_path / "nothing")[1]
    (tmp_path / "empty").mkdir()
    assert "this is not a run directory" in compared(log, tmp_path / "empty")[1]


def test_a_run_whose_log_has_one_agent_is_unknown(tmp_path: Path, model: Path) -> None:
    visits = [one._replace(visitor="all") for one in shop_visits(lasts_s=LASTS_S, per_s=4, seed=2)]
    run = saved_run(tmp_path / "run", visits, scenario())
    assert compared(model, run, "--out", tmp_path / "out")[0] == 2
    shutil.rmtree(tmp_path / "out")
