"""Tests of a service that exhausts its pool before its first request."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest

from rushhour.observe.start import keep_pools_of_start
from rushhour.rundir import History, Recorder, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.verdict.judge import Verdict, judge
from tests.unit import histories as h

STARTUP = f.CallSite("app/main.py", 12, "lifespan")
POOL = "127.0.0.1:5433/shop"
SIZE = 5
ENDED = {"what": "service ended with exit code 3; the last lines of service.log:", "log_tail": ["boom"]}


def sample(t_s: float, out: int, **changes: Any) -> f.PoolSample:
    plain: dict[str, Any] = {"waiting": 0, "leaked": 0, "timeouts": 0, "connects": out}
    counts = {"checkouts": out, "checkins": 0}
    return f.PoolSample(
        t_s, h.PID, POOL, "QueuePool", SIZE, 0, 2.0, checked_out=out, live=out, **plain | counts | changes
    )


def start(*, out: int = SIZE, holding: int | None = SIZE, waiting: int = 1) -> History:
    """Check out `out` connections within a second, then time out in a holder of `holding` of them."""
    late = holding is not None
    pools = tuple(
        sample(
            1 + tick / 10, min(out, tick), waiting=waiting * (tick > out), timeouts=int(late and tick > 35)
        )
        for tick in range(40)
    )
    checkouts = tuple(
        f.CheckOut(
            1.5 + n, h.PID, n, POOL, STARTUP, ("app/main.py:12 lifespan",), None, "MainThread", 9000 + n, 1.0
        )
        for n in range(out)
    )
    timeouts = (
        (f.PoolTimeout(4.6, h.PID, POOL, STARTUP, None, 2.0, holding=holding),) if holding is not None else ()
    )
    return History(
        environment=None,
        processes=(f.AgentProcess(0.5, h.PID, 1, "3.11", "2.0", None),),
        pools=pools,
        checkouts=checkouts,
        pool_timeouts=timeouts,
        events=(f.Event(0.0, f.ANCHOR, {}), f.Event(5.0, f.STACK_BROKE, ENDED)),
    )


def judged(history: History, **changes: Any) -> Verdict:
    return judge(h.scenario(**changes), history, "embedded")


def test_exhaustion_at_start_fails_with_cause_and_line() -> None:
    verdict = judged(start())
    assert (verdict.verdict, verdict.observed) == ("fail", "exhausted")
    assert verdict.headline == (
        "gate (release 1.1): the service exhausted its pool before its health path answered: 5 of 5 "
        f"connections of pool {POOL} out, 1 pool time-out; unclosed-path, taken at app/main.py:12 lifespan"
    )
    assert "| boom" in verdict.reasons
    assert (verdict.diagnosis.cause, verdict.diagnosis.confidence) == ("unclosed-path", "likely")
    assert "The service's start held all 5 connections" in verdict.diagnosis.summary


def test_a_pool_exhausted_by_other_holders_is_not_unclosed_path() -> None:
    """Five tasks hold one connection each forever, and the health path gets none."""
    verdict = judged(start(holding=0))
    assert verdict.verdict == "fail"
    assert verdict.diagnosis.cause != "unclosed-path"


def test_a_start_that_waits_on_a_full_pool_without_a_timeout_fails() -> None:
    assert judged(start(holding=None)).verdict == "fail"


def test_a_start_that_breaks_with_free_connections_is_unknown() -> None:
    verdict = judged(start(out=2, holding=None, waiting=0))
    assert verdict.verdict == "unknown"
    assert verdict.reasons[0].startswith("the stack broke: service ended with exit code 3")


def test_exhaustion_at_start_does_not_pass_an_expected_exhaustion() -> None:
    verdict = judged(start(), expect="exhausted", cause="unclosed-path")
    assert verdict.verdict == "unknown"
    assert verdict.diagnosis.cause == "unclosed-path"


@pytest.mark.parametrize("event", [f.STACK_UP, f.LOAD_STARTED])
def test_a_stack_that_breaks_after_its_start_is_unknown(event: str) -> None:
    history = start()
    later = (*history.events[:1], f.Event(0.7, event, {}), *history.events[1:])
    assert judged(dataclasses.replace(history, events=later)).verdict == "unknown"


def test_agent_records_of_a_failed_start_are_kept_in_the_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    recorder = Recorder(run)
    now = time.monotonic()
    lines: list[dict[str, Any]] = [
        {"k": "start", "t": now, "pid": 7, "ppid": 1, "python": "3.11", "argv": [], "forked": False},
        {"k": "pool", "id": 1, "kind": "QueuePool", "host": "127.0.0.1", "port": 5433, "db": "shop"},
        {"k": "sample", "t": now + 0.1, "pools": [[1, 3, 2, 2.0, 5, 5, 1, 0, 0, 5, 5, 0]]},
    ]
    (run.agent / "7.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    keep_pools_of_start(recorder, tmp_path)
    recorder.event(f.STACK_BROKE, **ENDED)
    recorder.close()
    history = load_history(run)
    assert [(sample.pool, sample.checked_out, sample.waiting) for sample in history.pools] == [(POOL, 5, 1)]
    assert history.event(f.POOL_FULL) is not None


def test_a_failed_start_without_agent_records_writes_no_pool_file(tmp_path: Path) -> None:
    recorder = Recorder(RunDir(tmp_path))
    keep_pools_of_start(recorder, tmp_path)
    recorder.close()
    assert not (tmp_path / "pool.jsonl").exists()
