"""The watcher on hand-written agent files."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import pytest

from rushhour.agent import records
from rushhour.agent.records import VERSION
from rushhour.observe.pool_process import _HANDLERS
from rushhour.observe.pools import PoolWatcher, endpoint_label
from rushhour.observe.task_pools import TaskPools
from rushhour.observe.watch import pool_watcher
from rushhour.rundir import Recorder, RunDir
from rushhour.rundir import facts as f
from rushhour.stack import Running, Server

ROOT = Path("/srv/service")
ANCHOR_S = 1000.0
PID = 7
START = {
    "k": "start",
    "t": 1000.5,
    "pid": PID,
    "ppid": 1,
    "python": "3.11.7",
    "argv": ["gunicorn"],
    "forked": False,
}
POOL = {"k": "pool", "id": 1, "kind": "QueuePool", "host": "localhost", "port": 5433, "db": "referrals"}
LINES = [
    {"k": "line", "id": 1, "file": "/srv/service/app/db.py", "line": 12, "function": "rows"},
    {"k": "line", "id": 2, "file": "/opt/shared/views.py", "line": 40, "function": "Listing.get"},
    {"k": "stack", "id": 1, "sites": [1, 2]},
]
SITE = f.CallSite("app/db.py", 12, "rows")


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = ANCHOR_S + 1

    def __call__(self) -> float:
        return self.now_s


class AgentFile:
    """Written as the agent writes it, read by a watcher."""

    def __init__(self, directory: Path, servers: dict[str, str]) -> None:
        self.path = directory / f"{PID}.jsonl"
        self.clock = Clock()
        self.watcher = PoolWatcher(directory, ANCHOR_S, servers, ROOT, self.clock)

    def raw(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)

    def add(self, *records: dict[str, Any]) -> list[f.PoolFact]:
        self.raw("".join(json.dumps(record) + "\n" for record in records))
        return self.watcher.poll()


def sample(t: float, *rows: list[float]) -> dict[str, Any]:
    return {"k": "sample", "t": t, "pools": list(rows)}


def row(pool: int = 1, **numbers: int) -> list[float]:
    names = ("checked_out", "live", "waiting", "leaked", "timeouts", "connects", "checkouts", "checkins")
    assert numbers.keys() <= set(names)
    return [pool, 20, 10, 30.0, *(numbers.get(name, 0) for name in names)]


def out(number: int = 1, taken: float = 1001.0) -> dict[str, Any]:
    return {
        "k": "out",
        "id": number,
        "pool": 1,
        "stack": 1,
        "endpoint": "GET /customers/<int:customer_id>/referrals",
        "thread": "worker-3",
        "server_pid": 4711,
        "taken": taken,
    }


TAKEN = f.CheckOut(
    t_s=1.0,
    pid=PID,
    id=1,
    pool="replica",
    site=SITE,
    stack=("app/db.py:12 rows", "/opt/shared/views.py:40 Listing.get"),
    endpoint="GET /customers/:id/referrals",
    thread="worker-3",
    server_pid=4711,
    taken_s=1.0,
)


def test_an_owner_and_what_ended_in_place_of_a_request(file: AgentFile) -> None:
    taken = out() | {"owner": 3, "endpoint": None}
    file.add(START, POOL, *LINES, taken)
    [found] = file.add({"k": "ended", "id": 1, "t": 1002.0, "lost": "owner-idle"})
    assert found == replace(TAKEN, t_s=2.0, endpoint=None, owner=3, request_ended_s=2.0, lost="owner-idle")
    [found] = file.add({"k": "resumed", "id": 1, "t": 1003.0})
    assert found == replace(TAKEN, t_s=3.0, endpoint=None, owner=3)


def locked(t_s: float, server: str = "replica") -> f.ServerSample:
    return f.ServerSample(t_s, server, lock_waits=(f.LockWait(4711, 4712, 0.2, "active", 0.2, 0.2),))


def test_a_short_check_out_is_written_if_its_backend_waited_for_a_lock_meanwhile(file: AgentFile) -> None:
    assert file.add(START, POOL, *LINES, out()) == [
        f.AgentProcess(0.5, PID, 1, "3.11.7", None, None, ("gunicorn",))
    ]
    file.watcher.notice(locked(1.2))
    [found] = file.watcher.poll()
    assert isinstance(found, f.CheckOut)
    assert (found.id, found.server_pid, found.returned_s) == (1, 4711, None)
    [back] = file.add({"k": "back", "id": 1, "t": 1001.3, "how": "close"})
    assert isinstance(back, f.CheckOut)
    assert back.returned_s == pytest.approx(1.3)


def test_a_check_out_returned_before_the_lock_wait_was_reported_is_written(file: AgentFile) -> None:
    file.add(START, POOL, *LINES, out())
    assert file.add({"k": "back", "id": 1, "t": 1001.3, "how": "close"}) == []
    file.watcher.notice(locked(1.4))  # it had come back by then
    file.watcher.notice(locked(1.2, server="primary"))  # another server's pid
    assert file.watcher.poll() == []
    file.watcher.notice(locked(1.2))
    [found] = file.watcher.poll()
    assert isinstance(found, f.CheckOut)
    assert found.returned_s == pytest.approx(1.3)
    assert file.watcher.poll() == []


@pytest.fixture
def file(tmp_path: Path) -> AgentFile:
    return AgentFile(tmp_path, {"127.0.0.1:5433": "replica"})


@pytest.mark.parametrize(
    ("rule", "label"),
    [
        ("/customers/<int:customer_id>/referrals", "/customers/:id/referrals"),
        ("/customers/<customer_id>", "/customers/:id"),
        ("/campaigns/<string(length=2):country>/<uuid:id>", "/campaigns/:country/:id"),
        ("/files/<path:name>", "/files/:name"),
        ("/health", "/health"),
        ("(no route)", "(no route)"),
    ],
)
def test_routes_become_locusts_names(rule: str, label: str) -> None:
    assert endpoint_label("GET", rule) == f"GET {label}"


def test_a_process_and_what_is_learnt_of_it(file: AgentFile) -> None:
    first = f.AgentProcess(0.5, PID, 1, "3.11.7", None, None, ("gunicorn",), forked=False, routes=())
    assert file.add(START) == [first]
    assert file.add({"k": "module", "t": 1000.75, "name": "sqlalchemy", "version": "2.1.9"}) == [
        replace(first, t_s=0.75, sqlalchemy="2.1.9")
    ]
    assert file.add({"k": "routes", "t": 1001.0, "routes": ["GET /health"]}) == [
        replace(first, t_s=1.0, sqlalchemy="2.1.9", routes=("GET /health",))
    ]


def test_a_file_of_a_version_that_is_not_known_says_once_which_was_expected(file: AgentFile) -> None:
    [fault] = file.add(START | {"v": 99}, POOL, *LINES, out())
    assert isinstance(fault, f.AgentFault)
    assert fault.error == (
        f"the agent's file has records of version 99; versions 1 to {VERSION} were expected: use the agent "
        "of the same rushhour that reads it"
    )
    assert file.add(sample(1001.0, row())) == []
    assert len(file.add(START | {"v": VERSION})) == 1  # it executed itself with another one


def test_the_reader_has_a_handler_for_each_kind_of_record_and_for_no_other() -> None:
    kinds = {
        get_args(get_type_hints(record)["k"])[0]
        for record in vars(records).values()
        if isinstance(record, type) and hasattr(record, "__required_keys__")
    }
    assert kinds | {"seen", "doing", "loop"} == _HANDLERS.keys()


def test_samples_are_named_after_the_server(file: AgentFile) -> None:
    facts = file.add(
        START,
        POOL,
        sample(
            1001.25,
            row(checked_out=3, live=2, waiting=1, leaked=1, timeouts=4, connects=5, checkouts=9, checkins=7),
        ),
    )
    assert facts[1:] == [
        f.PoolSample(1.25, PID, "replica", "QueuePool", 20, 10, 30.0, 3, 2, 1, 1, 4, 5, 9, 7),
    ]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ({"host": "127.0.0.1", "port": 5433}, "replica"),
        ({"host": "::1", "port": 5433}, "replica"),
        ({"host": "db.internal", "port": 5432}, "db.internal:5432/referrals"),
        ({"host": "/run/postgresql", "port": 5432}, "/run/postgresql:5432/referrals"),
        ({"host": None, "port": None, "db": "/tmp/test/service.db"}, "service.db"),
        ({"host": None, "port": None, "db": None}, "pool 1"),
    ],
)
def test_names_of_pools(file: AgentFile, address: dict[str, Any], name: str) -> None:
    [_, fact] = file.add(START, POOL | address, sample(1001.0, row()))
    assert isinstance(fact, f.PoolSample)
    assert fact.pool == name


def test_two_pools_of_one_server_get_two_names(file: AgentFile) -> None:
    facts = file.add(START, POOL, POOL | {"id": 2}, sample(1001.0, row(1), row(2)))
    assert [fact.pool for fact in facts if isinstance(fact, f.PoolSample)] == ["replica", "replica#2"]


def test_a_pool_that_replaces_a_dropped_one_goes_on_with_its_name_and_counters(file: AgentFile) -> None:
    facts = file.add(
        START,
        POOL,
        sample(1001.0, row(1, checkouts=5, checkins=5, connects=1)),
        {"k": "gone", "pool": 1},
        POOL | {"id": 2},
        sample(1002.0, row(2, checkouts=2, checkins=1, connects=1)),
        sample(1003.0, row(2, checkouts=3, checkins=3, connects=1)),
    )
    samples = [fact for fact in facts if isinstance(fact, f.PoolSample)]
    assert [(sample.pool, sample.checkouts, sample.checkins, sample.connects) for sample in samples] == [
        ("replica", 5, 5, 1),
        ("replica", 7, 6, 2),
        ("replica", 8, 8, 2),
    ]


def test_a_line_that_is_being_written_waits(file: AgentFile) -> None:
    file.add(START, POOL)
    text = json.dumps(sample(1001.0, row(live=1)))
    file.raw(text[:20])
    assert file.watcher.poll() == []
    file.raw(text[20:])
    assert file.watcher.poll() == []
    file.raw("\n")
    [fact] = file.watcher.poll()
    assert isinstance(fact, f.PoolSample)
    assert fact.live == 1
    assert file.watcher.poll() == []


def test_a_check_out_gets_its_line_after_a_second(file: AgentFile) -> None:
    assert not [fact for fact in file.add(START, POOL, *LINES, out()) if isinstance(fact, f.CheckOut)]
    assert not [fact for fact in file.add(sample(1001.9, row(live=1))) if isinstance(fact, f.CheckOut)]
    assert file.add(sample(1002.0, row(live=1)))[1:] == [replace(TAKEN, t_s=2.0)]
    assert file.add(sample(1002.1, row(live=1)))[1:] == []  # once
    assert file.add({"k": "back", "id": 1, "t": 1003.5, "how": "close"}) == [
        replace(TAKEN, t_s=3.5, returned_s=3.5, returned_by="close")
    ]


def test_a_check_out_that_outlives_its_request_gets_its_line_at_once(file: AgentFile) -> None:
    facts = file.add(START, POOL, *LINES, out(), {"k": "ended", "id": 1, "t": 1001.2})
    assert facts[1:] == [replace(TAKEN, t_s=1.2, request_ended_s=1.2)]
    assert file.add({"k": "back", "id": 1, "t": 1001.5, "how": "gc"}) == [
        replace(TAKEN, t_s=1.5, request_ended_s=1.2, returned_s=1.5, returned_by="gc")
    ]


def test_short_check_outs_get_no_line(file: AgentFile) -> None:
    file.add(START, POOL, *LINES, out())
    assert file.add({"k": "back", "id": 1, "t": 1001.9, "how": "close"}) == []
    assert file.watcher.finish() == []


def test_a_long_check_out_gets_its_line_even_if_no_sample_saw_it(file: AgentFile) -> None:
    file.add(START, POOL, *LINES, out())
    [fact] = file.add({"k": "back", "id": 1, "t": 1002.0, "how": "close"})
    assert fact == replace(TAKEN, t_s=2.0, returned_s=2.0, returned_by="close")


def test_finish_returns_all_that_is_still_out(file: AgentFile) -> None:
    file.add(START, POOL, *LINES, out(), sample(1001.5, row(live=1)))
    assert file.watcher.finish() == [replace(TAKEN, t_s=1.5)]


def test_what_a_process_held_at_its_end(file: AgentFile) -> None:
    file.add(START, POOL, *LINES, out(), out(2, taken=1001.9), sample(1002.0, row(live=2)))
    ended = replace(TAKEN, t_s=2.2, returned_s=2.2, returned_by="process-ended")
    [*checkouts, process] = file.add({"k": "exit", "t": 1002.2})
    assert checkouts == [ended, replace(ended, id=2, taken_s=1.9)]
    assert isinstance(process, f.AgentProcess)
    assert process.exited_s == 2.2
    file.clock.now_s += 100
    assert file.watcher.finish() == []


@pytest.mark.parametrize(
    ("content", "none_out"), [(b"\1", [True]), (b"\0", []), (b"", []), (b"\xff", []), (None, [])]
)
def test_what_a_killed_process_said_last_is_read_at_the_end(
    file: AgentFile, content: bytes | None, none_out: list[bool]
) -> None:
    file.add(START, POOL, sample(1002.0, row()))
    if content is not None:
        file.path.with_suffix(".out").write_bytes(content)
    assert [fact.none_out for fact in file.watcher.finish() if isinstance(fact, f.AgentProcess)] == none_out


def test_a_silent_process_counts_as_dead_until_its_next_record(file: AgentFile) -> None:
    file.add(START, POOL, *LINES, out(), sample(1002.0, row(live=1)))
    file.clock.now_s = 1007.0
    assert file.watcher.poll() == []
    file.clock.now_s = 1007.1
    assert file.watcher.poll() == [replace(TAKEN, t_s=2.0, returned_s=2.0, returned_by="process-ended")]
    assert file.watcher.finish() == []
    facts = file.add(sample(1007.2, row(live=1)))
    assert facts[0] == replace(TAKEN, t_s=2.0)
    assert file.watcher.finish() == [replace(TAKEN, t_s=7.2)]


def test_a_pid_that_starts_again_forgets_what_it_held_and_numbers_on(file: AgentFile) -> None:
    file.add(START, POOL, *LINES, out(), sample(1002.0, row(live=1)))
    facts = file.add(
        START | {"t": 1003.0}, POOL, *LINES, out(taken=1003.0), {"k": "ended", "id": 1, "t": 1003.5}
    )
    assert facts[0] == replace(TAKEN, t_s=3.0, returned_s=3.0, returned_by="process-ended")
    assert isinstance(facts[1], f.AgentProcess)
    assert facts[2] == replace(TAKEN, t_s=3.5, id=2, taken_s=3.0, request_ended_s=3.5)


def test_totals_times_timeouts_and_faults(file: AgentFile) -> None:
    site = {"k": "site", "t": 1002.0, "pool": 1, "site": 1, "endpoint": None, "checkouts": 4}
    facts = file.add(
        START,
        POOL,
        *LINES,
        site | {"held": 0.5, "longest": 0.25},
        site | {"t": 1003.0, "checkouts": 5, "held": 0.6, "longest": 0.25, "hold": {"131072": 1}},
        {
            "k": "times",
            "t": 1002.0,
            "pool": 1,
            "wait": {"8": 3, "1024": 1},
            "hold": {"2048": 4},
            "create": {},
        },
        {"k": "timeout", "t": 1002.5, "pool": 1, "site": 1, "endpoint": "POST /login", "waited": 30.01}
        | {"holding": [1, 0]},
        {"k": "fault", "t": 1003.0, "where": "check-in", "error": "KeyError: 'x' (2 times)"},
    )
    assert facts[1:] == [
        f.SiteTotal(2.0, PID, "replica", SITE, None, 4, 0.5, 0.25),
        f.SiteTotal(3.0, PID, "replica", SITE, None, 5, 0.6, 0.25, {131072: 1}),
        f.PoolTimes(2.0, PID, "replica", {8: 3, 1024: 1}, {2048: 4}, {}),
        f.PoolTimeout(2.5, PID, "replica", SITE, "POST /login", 30.01, holding=1),
        f.AgentFault(3.0, PID, "check-in", "KeyError: 'x' (2 times)"),
    ]


@pytest.mark.parametrize(
    "line",
    ["not json", "[1]", "null", '{"k":"nonsense"}', '{"t":1}', '{"k":"back","id":99,"t":1,"how":"close"}'],
)
def test_a_broken_line_is_a_fault_and_the_rest_is_read(file: AgentFile, line: str) -> None:
    file.raw(line + "\n")
    fault, process = file.add(START)
    assert isinstance(fault, f.AgentFault)
    assert (fault.t_s, fault.pid) == (1.0, PID)
    assert "7.jsonl" in fault.where
    assert isinstance(process, f.AgentProcess)


def test_what_is_no_agents_file_is_left_alone(file: AgentFile) -> None:
    (file.path.parent / "notes.jsonl").write_text("hello\n")
    (file.path.parent / "8.txt").write_text("hello\n")
    assert file.watcher.finish() == []


def test_no_directory_is_no_facts(tmp_path: Path) -> None:
    assert PoolWatcher(tmp_path / "missing", 0.0, {}, ROOT).finish() == []


def test_several_processes(file: AgentFile) -> None:
    (file.path.parent / "8.jsonl").write_text(json.dumps(START | {"pid": 8, "forked": True}) + "\n")
    facts = [fact for fact in file.add(START) if isinstance(fact, f.AgentProcess)]
    assert [(fact.pid, fact.forked) for fact in facts] == [(7, False), (8, True)]


def test_the_last_poll_reads_a_backlog_of_any_size(file: AgentFile) -> None:
    file.add(START, POOL, *LINES)
    file.raw("".join(json.dumps(out(number)) + "\n" for number in range(1, 40_001)))
    facts = file.watcher.finish()
    assert len({fact.id for fact in facts if isinstance(fact, f.CheckOut)}) == 40_000
    assert not [fact for fact in facts if isinstance(fact, f.AgentFault)]


def test_the_last_poll_says_how_many_bytes_it_had_no_time_for(tmp_path: Path) -> None:
    class Slow(Clock):
        def __call__(self) -> float:
            self.now_s += 1
            return self.now_s

    file = AgentFile(tmp_path, {})
    file.add(START, POOL, *LINES)
    file.raw("".join(json.dumps(out(number)) + "\n" for number in range(1, 40_001)))
    file.watcher = PoolWatcher(tmp_path, ANCHOR_S, {}, ROOT, Slow())
    (fault,) = (fact for fact in file.watcher.finish(within_s=2.5) if isinstance(fact, f.AgentFault))
    assert fault.where == "reading 7.jsonl"
    assert "bytes were not read within 2.5 s" in fault.error


@dataclass
class InContainers:
    """A fleet: each of its tasks makes a directory below the agent's, and pids repeat."""

    service_root: Path = ROOT
    servers: tuple[Server, ...] = ()

    def task_directories(self, agent: Path) -> list[Path]:
        return sorted(path for path in agent.iterdir() if path.is_dir())


def test_processes_of_two_tasks_with_the_same_pid_stay_apart(tmp_path: Path) -> None:
    recorder = Recorder(RunDir(tmp_path))
    reader = pool_watcher(cast("Running", InContainers()), recorder)
    assert reader.poll() == []
    pids: list[int] = []
    for task in ("first", "second"):  # the second comes with an update, while the first is read
        directory = recorder.run.agent / task
        directory.mkdir()
        line = json.dumps({**START, "v": VERSION, "t": recorder.anchor_monotonic_s + 1})
        (directory / f"{PID}.jsonl").write_text(line + "\n")
        [process] = reader.poll()
        pids.append(process.pid)
    assert pids[0] == PID
    assert pids[1] not in pids[:1]
    assert reader.finish() == []
    recorder.close()


def test_tasks_share_the_time_of_the_last_poll(tmp_path: Path) -> None:
    now_s, given_s = 100.0, list[float]()

    class Slow:
        def finish(self, within_s: float) -> list[Any]:
            nonlocal now_s
            given_s.append(within_s)
            now_s += 3.0
            return []

    tasks = [tmp_path / name for name in ("first", "second", "third")]
    TaskPools(lambda: tasks, lambda _: cast("PoolWatcher", Slow()), lambda: now_s).finish(4.0)
    assert given_s == [4.0, 1.0, 0.0]


def test_a_check_out_of_a_task_says_so(file: AgentFile) -> None:
    file.add(START, POOL, *LINES, out() | {"task": True})
    [found] = file.add({"k": "back", "id": 1, "t": 1003.0, "how": "close"})
    assert isinstance(found, f.CheckOut)
    assert found.by_task
