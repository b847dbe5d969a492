"""OpenTelemetry's pool metrics, from a hand-written book to Prometheus's text."""

import json
import queue
import re
from pathlib import Path

import pytest

from rushhour.agent.book import CLOSE, Book, Hold, PoolState, Request, Slot, Timeout
from rushhour.agent.call_sites import UNKNOWN, Classifier
from rushhour.agent.exporter import DEPARTED, TEXT, Exporter, parse_address
from rushhour.agent.metrics import Ledger, Snapshot, render
from rushhour.agent.owners import THREAD, Owner
from rushhour.agent.tally import Tally


class FakePool:
    """The attributes of a QueuePool that the agent reads, on the same kind of queue."""

    def __init__(self) -> None:
        self._pool: queue.Queue[object] = queue.Queue(5)
        self._max_overflow = 2
        self._overflow = -5
        self._timeout = 30.0


class Service:
    """One process with one pool, whose address is known."""

    def __init__(self) -> None:
        self.book = Book()
        self.tally = Tally(self.book, Classifier())
        self.pool = FakePool()
        self.state: PoolState = self.book.pool_state(self.pool)
        self.state.address = ("127.0.0.1", 5432, "shop")

    def take(self, at: float, request: Request | None = None, waited: float = 0.0) -> Hold:
        hold = Hold()
        hold.slot, hold.stack, hold.request, hold.thread = Slot(self.state), UNKNOWN, request, 0
        hold.waited, hold.taken = waited, at
        hold.returned = hold.lost = hold.others = hold.scoped = None
        hold.used, hold.followed = 1.0, False
        hold.owner = Owner(THREAD, 0)
        self.book.live[hold] = hold
        self.pool._overflow += 1
        return hold

    def give_back(self, hold: Hold, at: float) -> None:
        self.book.came_back(hold, at, CLOSE)
        self.pool._pool.put(object())

    def snapshot(self, now: float) -> Snapshot:
        self.tally.tick(now)
        return Ledger(self.book).snapshot(now)


def values(text: str) -> dict[str, float]:
    """`name{labels}` without the pool's name -> value."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            name = re.sub(r'db_client_connection_pool_name="[^"]*",?', "", name)
            found[name.replace("{}", "")] = float(value)
    return found


def test_names_units_and_attributes_are_the_conventions() -> None:
    service = Service()
    service.give_back(service.take(1.0, waited=0.25), 1.5)
    request = Request("GET", None)
    request.ended = 2.5
    service.take(2.0, request)
    service.book.opened.append((service.state, 0.003))
    service.book.timeouts.append(Timeout(3.0, service.state, UNKNOWN, None, waited=30.0, holding=(0, 0)))
    text = render(service.snapshot(4.0), 1)
    assert (
        '{db_client_connection_pool_name="127.0.0.1:5432/shop",db_client_connection_state="used"} 1' in text
    )
    found = values(text)
    expected = {
        'db_client_connection_count{db_client_connection_state="idle"}': 1,
        'db_client_connection_count{db_client_connection_state="used"}': 1,
        "db_client_connection_idle_max": 5,
        "db_client_connection_max": 7,
        "db_client_connection_pending_requests": 0,
        "db_client_connection_timeouts_total": 1,
        "db_client_connection_use_time_seconds_sum": 0.5,
        "db_client_connection_use_time_seconds_count": 1,
        "db_client_connection_wait_time_seconds_sum": 0.25,
        "db_client_connection_create_time_seconds_sum": 0.003,
        'db_client_connection_create_time_seconds_bucket{le="0.002048"}': 0,
        'db_client_connection_create_time_seconds_bucket{le="0.004096"}': 1,
        'db_client_connection_create_time_seconds_bucket{le="+Inf"}': 1,
        "rushhour_pool_leaked_connections": 1,
    }
    assert {name: found[name] for name in expected} == expected


def test_every_metric_has_its_type_and_buckets_only_grow() -> None:
    service = Service()
    for held_s in (0.00001, 0.001, 0.1, 10.0, 1000.0):
        service.give_back(service.take(1.0), 1.0 + held_s)
    text = render(service.snapshot(2000.0), 1)
    typed = set(re.findall(r"^# TYPE (\S+) (?:gauge|counter|histogram)$", text, re.MULTILINE))
    used = {re.sub(r"_(bucket|sum|count)(?=$)", "", name.split("{")[0]) for name in values(text)}
    assert {name for name in used if name not in typed} - {"db_client_connection"} == set()
    buckets = [count for name, count in values(text).items() if "use_time_seconds_bucket" in name]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-2], buckets[-1]) == (1, 4, 5)


def test_a_pool_that_the_service_dropped_leaves_its_counters() -> None:
    service = Service()
    ledger = Ledger(service.book)
    service.give_back(service.take(1.0), 1.5)
    service.tally.tick(2.0)
    ledger.snapshot(2.0)
    del service.pool
    for now in (3.0, 4.0):  # its last returns may come a tick later
        service.tally.tick(now)
    [(name, figures)] = ledger.snapshot(5.0).items()
    assert name == "127.0.0.1:5432/shop"
    assert "used" not in figures
    assert figures["use"][1] == 0.5


def exporter(service: Service, folder: Path, now: list[float]) -> Exporter:
    return Exporter(service.book, str(folder), None, lambda: now[0])


def test_processes_add_up_and_the_dead_keep_their_counters(tmp_path: Path) -> None:
    now, service = [100.0], Service()
    service.take(99.0)
    service.snapshot(100.0)
    one = exporter(service, tmp_path, now)
    other = Service().snapshot(100.0)
    other["127.0.0.1:5432/shop"] |= {"timeouts": 4, "used": 2}
    nobody = 2**22 + 1  # above the kernel's highest pid
    written = tmp_path / f"{nobody}-1.pools.json"
    written.write_text(json.dumps({"pid": nobody, "t": 99.5, "pools": other}))
    one.tick()
    used = 'db_client_connection_count{db_client_connection_state="used"}'
    found = values((tmp_path / TEXT).read_text())
    assert (found[used], found["db_client_connection_timeouts_total"]) == (3, 4)
    assert (found["rushhour_agent_processes"], found["db_client_connection_max"]) == (2, 14)
    for now[0] in (110.0, 120.0):  # it has ended: its file goes, and is not counted twice
        one.tick()
        found = values((tmp_path / TEXT).read_text())
        assert (found[used], found["db_client_connection_timeouts_total"]) == (1, 4)
        assert found["rushhour_agent_processes"] == 1
        assert not written.exists()
    # As if it had crashed between writing the sum and removing the file.
    written.write_text(json.dumps({"pid": nobody, "t": 99.5, "pools": other}))
    departed = json.loads((tmp_path / DEPARTED).read_text())
    (tmp_path / DEPARTED).write_text(json.dumps(departed | {"merged": [written.name]}))
    now[0] = 130.0
    one.tick()
    assert values((tmp_path / TEXT).read_text())["db_client_connection_timeouts_total"] == 4
    assert not written.exists()
    one.close()


def test_another_process_takes_over_the_export_when_the_leader_ends(tmp_path: Path) -> None:
    now = [100.0]
    first, second = (exporter(Service(), tmp_path, now) for _ in range(2))
    first.tick()
    (tmp_path / TEXT).unlink()
    second.tick()
    assert not (tmp_path / TEXT).exists()
    first.tick(final=True)
    now[0] += 1.0
    second.tick()
    assert (tmp_path / TEXT).exists()
    second.close()


def test_where_metrics_go() -> None:
    assert parse_address("9464") == ("127.0.0.1", 9464)
    assert parse_address("::1:9464") == ("::1", 9464)
    assert parse_address("file") is None
    for wrong in ("", "localhost", "127.0.0.1:", "70000", "0"):
        with pytest.raises(ValueError, match="write PORT, HOST:PORT or `file`"):
            parse_address(wrong)
