"""Scenarios of the zoo on real servers, and the faults that they need."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.process.ports import free_port
from rushhour.stack.postgres.bare import BareServer
from rushhour.stack.postgres.table_lock import TableLock
from rushhour.stack.processes.side_process import SideProcess, start_relay
from tests.judged_runs import ROOT, run, told


@pytest.mark.long
@pytest.mark.alone
def test_a_wait_for_a_partner_is_named_with_the_line_that_waits(cache: Path, tmp_path: Path) -> None:
    ended = run(tmp_path, "zoo-held-across-external-wait")
    verdict = told(ended)
    diagnosis = verdict["diagnosis"]
    assert (diagnosis["cause"], diagnosis["confidence"]) == ("held-across-external-wait", "certain")
    assert diagnosis["page"] == "docs/causes/held-across-external-wait.md"
    assert (ROOT / diagnosis["page"]).exists()
    [line] = [item for item in diagnosis["evidence"] if item["signal"].startswith("line where most")]
    place, function = line["value"].split()
    file, _, number = place.partition(":")
    assert function == "reward_points"
    assert "partner" in (ROOT / file).read_text(encoding="utf-8").splitlines()[int(number) - 1]


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def echo() -> Iterator[int]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(60)


@pytest.fixture
def relay(guard: Guard, echo: int, tmp_path: Path) -> Iterator[SideProcess]:
    made = start_relay(guard, "replica", echo, log=tmp_path / "relay.log", choose_port=free_port)
    yield made
    made.stop()
    assert made.child.poll() is not None


def test_a_relay_passes_everything_until_it_is_a_black_hole(relay: SideProcess) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=60) as connection:
        connection.sendall(b"one")
        assert connection.recv(10) == b"one"
        relay.cut()
        connection.sendall(b"two")  # taken, and swallowed
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        socket.create_connection(("127.0.0.1", relay.port), timeout=60).close()  # opens, too
        relay.restore()
        connection.settimeout(60)
        assert connection.recv(10) == b"two"


def test_a_relay_that_is_cut_off_can_be_stopped(guard: Guard, echo: int, tmp_path: Path) -> None:
    made = start_relay(guard, "replica", echo, log=tmp_path / "relay.log", choose_port=free_port)
    made.cut()
    made.stop()
    assert made.child.poll() is not None


def test_a_locked_table_cannot_be_read_until_it_is_released(pg: BareServer) -> None:
    with psycopg2.connect(pg.dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS locked_by_test (id int)")
    connection.close()
    reader = psycopg2.connect(pg.dsn)
    reader.autocommit = True
    try:
        with reader.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")
            lock = TableLock(pg.dsn, "primary", "locked_by_test")
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                cursor.execute("SELECT * FROM locked_by_test")
            lock.release()
            cursor.execute("SET lock_timeout = '60s'")  # the server sees the closed connection a moment later
            cursor.execute("SELECT * FROM locked_by_test")
            cursor.execute("DROP TABLE locked_by_test")
    finally:
        reader.close()


def test_a_missing_table_is_reported(pg: BareServer) -> None:
    with pytest.raises(
        StackError, match=r'table nowhere of the primary could not be locked: relation "nowhere"'
    ):
        TableLock(pg.dsn, "primary", "nowhere")
