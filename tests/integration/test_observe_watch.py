"""All observers together: on a real server and real processes, with facts that other processes write."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rushhour.errors import RunDataError
from rushhour.observe.live_state import LiveState
from rushhour.observe.watch import ENDED_WITHIN_S, Watcher, watch
from rushhour.process.meter import Meter
from rushhour.process.psutil_meters import ProcessTreeMeter
from rushhour.process.waiting import came_true
from rushhour.rundir import FactWriter, Recorder, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.rundir.loading import read_facts
from rushhour.stack import Server
from rushhour.stack.postgres.bare import BareServer

SOON_S = 30.0
SITE = f.CallSite("app/db.py", 41, "referrals_of")
LOG = """\
[ERROR] Exception on /customers/17/referrals [GET]
Traceback (most recent call last):
  File "sqlalchemy/pool/impl.py", line 165, in _do_get
sqlalchemy.exc.TimeoutError: QueuePool limit of size 20 overflow 10 reached, connection timed out
"""


@dataclass
class Standing:
    """A stack that stands already, of these parts."""

    servers: tuple[Server, ...] = ()
    meters: Mapping[str, Meter] = field(default_factory=dict)
    service_url: str = "http://127.0.0.1:1"
    limits: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    service_root: Path = Path()
    postgres_version: str = ""

    def check_alive(self) -> None: ...


@dataclass
class Pools:
    """Gives what it was given, each once; raises what it was told to raise."""

    polls: list[list[f.PoolFact]] = field(default_factory=list)
    rest: list[f.PoolFact] = field(default_factory=list)
    fault: Exception | None = None

    def notice(self, sample: f.ServerSample) -> None: ...

    def poll(self) -> list[f.PoolFact]:
        if self.fault is not None:
            raise self.fault
        return self.polls.pop(0) if self.polls else []

    def finish(self) -> list[f.PoolFact]:
        return self.rest


def sample(t_s: float, checked_out: int) -> f.PoolSample:
    return f.PoolSample(
        t_s=t_s,
        pid=7,
        pool="replica",
        kind="QueuePool",
        size=20,
        max_overflow=10,
        timeout_s=30.0,
        checked_out=checked_out,
        live=checked_out,
        waiting=0,
        leaked=checked_out,
        timeouts=0,
        connects=30,
        checkouts=90,
        checkins=60,
    )


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(RunDir(tmp_path))
    yield recorder
    recorder.close()


def until(watcher: Watcher, reached: Callable[[LiveState], bool]) -> LiveState:
    deadline_s = time.monotonic() + SOON_S
    while not reached(state := watcher.state()):
        assert time.monotonic() < deadline_s, f"not reached within {SOON_S} s; last: {state}"
        time.sleep(0.02)
    return state


def observers() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("rushhour-")}


def test_every_observer_records_the_run(recorder: Recorder, pg: BareServer) -> None:
    leak = f.CheckOut(1.0, 7, 1, "replica", SITE, (), "GET /x", "t", 5, taken_s=0.9, request_ended_s=1.0)
    pools = Pools(polls=[[leak, sample(1.0, 30)], [sample(2.5, 30)]], rest=[sample(9.0, 28)])
    server = Server("primary", "127.0.0.1", pg.port, "referrals", pg.dsn)
    writer = FactWriter(recorder.run)
    idle = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with (
        idle,
        watch(
            recorder,
            Standing((server,), {"service": ProcessTreeMeter(os.getpid(), 0.5)}),
            pools=pools,
            extra_meters={},
        ) as watcher,
    ):
        watcher.add_meter("generator", ProcessTreeMeter(idle.pid))
        recorder.event(f.LOAD_STARTED)
        (recorder.run.logs / "service.log").write_text(LOG)
        writer.write(
            [f.RequestCount(0, "GET /x", f.Outcome.OK, 9, ""), f.GeneratorSample(0, "w", 40, 9, 0, 1, 2, 0.1)]
        )
        state = until(watcher, lambda state: "generator" in state.cpu_cores and len(state.moments) == 3)
        assert state.pools[0].checked_out == 30
        assert (state.users, state.requests) == (40, 9)
        assert set(state.cpu_cores) == {"service", "generator", "machine", "harness"}
        assert came_true(lambda: any(not fact.error for fact in load_history(recorder.run).servers), SOON_S)
        assert state.cpu_limits["service"] == 0.5
        assert state.elapsed_s > 0
        idle.kill()
    writer.close()
    assert observers() == set()
    history = load_history(recorder.run)
    assert [event.name for event in history.events if event.name != f.LOAD_STARTED] == [
        f.ANCHOR,
        f.POOL_FULL,
        f.LEAK_DETECTED,
        f.LOG_ERRORS,
    ]
    assert history.event(f.LOG_ERRORS) is not None
    assert [fact.checked_out for fact in history.pools] == [30, 30, 28]  # the last came from `finish`
    assert {fact.component for fact in history.host} == {"service", "generator", "machine", "harness"}
    # One that took longer than a sample may was a machine that stood still.
    answered = [fact for fact in history.servers if not (fact.error or "").startswith("waited ")]
    assert [fact.error for fact in answered if fact.error] == []
    assert answered[0].in_recovery is False


def test_an_observer_that_fails_is_reported_and_the_others_go_on(recorder: Recorder) -> None:
    pools = Pools(fault=ValueError("agent wrote nonsense"))
    (recorder.run.path / "requests.jsonl").write_text('{"t_s": "never"}\n')
    with watch(recorder, Standing(), pools=pools, extra_meters={}) as watcher:
        until(watcher, lambda state: len(state.moments) == 2 and "machine" in state.cpu_cores)
    faults = {
        event.detail["observer"]: event.detail["error"]
        for event in read_facts(recorder.run.file("events.jsonl"), f.Event)
        if event.name == f.OBSERVER_FAULT
    }
    assert faults["pools"] == "ValueError: agent wrote nonsense"
    assert faults["tail requests.jsonl"].startswith("ValidationError: ")


def test_a_server_that_says_nothing_delays_neither_the_start_nor_the_end_for_long(recorder: Recorder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        dsn = f"host=127.0.0.1 port={port} user=postgres"
        began_s = time.monotonic()
        with watch(
            recorder,
            Standing((Server("replica", "127.0.0.1", port, "x", dsn),)),
            pools=Pools(),
            extra_meters={},
        ):
            pass
        took_s = time.monotonic() - began_s
    assert took_s < ENDED_WITHIN_S * 3
    assert observers() == set()
    [only, *_] = load_history(recorder.run).servers
    assert only.server == "replica"
    assert re.fullmatch(r"waited ([2-9]|\d\d+)\.\d s for the connection to open", only.error or "")


def test_facts_that_cannot_be_written_end_the_run_and_do_not_hide_an_earlier_error(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    recorder = Recorder(run)
    recorder.close()
    for name in ("events.jsonl", "host.jsonl", "pool.jsonl"):
        run.file(name).unlink(missing_ok=True)
        run.file(name).mkdir()  # nothing can be appended to it, as on a full disk
    with (
        pytest.raises(RunDataError, match=r"could not be written: .*events\.jsonl"),
        watch(recorder, Standing(), pools=Pools(polls=[[sample(1.0, 1)]]), extra_meters={}) as watcher,
    ):
        until(watcher, lambda state: bool(state.moments))
    with pytest.raises(KeyError, match="first") as caught:
        fail_while_watching(recorder)
    assert "could not be written" in caught.value.__notes__[0]
    recorder.close()


def fail_while_watching(recorder: Recorder) -> None:
    with watch(recorder, Standing(), pools=Pools(polls=[[sample(1.0, 1)]]), extra_meters={}) as watcher:
        until(watcher, lambda state: bool(state.moments))
        raise KeyError("first")
