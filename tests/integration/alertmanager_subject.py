"""A real Alertmanager with a webhook that records what it is told, for the tests of the modelled one."""

import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rushhour.alarms.alertmanager import Change, Labels
from tests.free_ports import free_port

BINARY = "prometheus-alertmanager"
NEEDED = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which(BINARY) is None, reason=f"no {BINARY}: make alert-tools"),
]
START_TIMEOUT_S = 60.0
ATTEMPTS = 3  # of a story that the machine was too busy to tell in time
LATE_S = 0.2  # no change of a story is nearer to a tick of Alertmanager's than twice this
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Told:
    """One call of the webhook; `at_s` is on the monotonic clock."""

    at_s: float
    timeline: str
    status: str
    firing: frozenset[Labels]
    resolved: frozenset[Labels]
    receiver: str = ""


@dataclass(slots=True)
class Webhook:
    """Whatever Alertmanager posts, in order."""

    port: int
    told: list[Told] = field(default_factory=list)


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A server on 127.0.0.1 while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            at_s = time.monotonic()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.told.append(_told(at_s, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Quiet."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # all groups tell at once; the default of five makes some wait a second

    server = Server(("127.0.0.1", 0), Handler)
    hook = Webhook(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _told(at_s: float, body: dict[str, Any]) -> Told:
    def of(status: str) -> frozenset[Labels]:
        return frozenset(
            tuple(sorted(alert["labels"].items())) for alert in body["alerts"] if alert["status"] == status
        )

    timeline = body["groupLabels"].get("timeline", "")
    return Told(at_s, timeline, body["status"], of("firing"), of("resolved"), body["receiver"])


@dataclass(slots=True)
class Machine:
    """How late what was to happen in this process came at worst."""

    late_s: float = 0.0

    def was_late(self, due_s: float) -> None:
        """What was due at this time of the monotonic clock is done now."""
        self.late_s = max(self.late_s, time.monotonic() - due_s)


@contextmanager
def watched() -> Iterator[Machine]:
    """The machine while the block runs: a thread that is late to wake says that others are late, too."""
    machine, ended = Machine(), threading.Event()

    def look() -> None:
        due_s = time.monotonic() + LOOK_S
        while not ended.wait(max(0.0, due_s - time.monotonic())):
            machine.was_late(due_s)
            due_s = time.monotonic() + LOOK_S

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield machine
    finally:
        ended.set()
        thread.join()


T = TypeVar("T")


def told_in_time(tell: Callable[[Path, Machine], T], folder: Path) -> T:
    """What a story came to, told once more while the machine was late; skips the test if it always was."""
    for attempt in range(ATTEMPTS):
        own = folder / str(attempt)
        own.mkdir()
        with watched() as machine:
            came_to = tell(own, machine)
        if machine.late_s <= LATE_S:
            return came_to
    pytest.skip(f"this machine is too busy for a story of seconds: {machine.late_s:.2f} s late")


@contextmanager
def running(binary: str, arguments: list[str], ready: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers `ready` with 200, stopped at the block's end."""
    with log.open("wb") as out:
        process = subprocess.Popen([_path(binary), *arguments], stdout=out, stderr=out)
        try:
            _wait(process, ready, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def alertmanager(folder: Path, config: str) -> tuple[str, list[str]]:
    """Its address, and its arguments; no cluster, everything in `folder`."""
    file = folder / "alertmanager.yml"
    file.write_text(config, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    return address, [
        f"--config.file={file}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]


def told_of(
    changes: list[Change], seconds: float, config: Callable[[int], str], folder: Path
) -> tuple[float, float, list[Told]]:
    """When these changes began, by the monotonic clock and the wall's, and what a real Alertmanager told.

    `config` is for the port of a webhook. Skips the test where the machine was too late each time.
    """

    def tell(own: Path, machine: Machine) -> tuple[float, float, list[Told]]:
        with webhook() as hook:
            address, arguments = alertmanager(own, config(hook.port))
            with running(BINARY, arguments, f"http://{address}/-/ready", own / "log"):
                started_s, epoch_s = time.monotonic(), time.time()
                _play(address, changes, started_s, machine)
                time.sleep(max(0.0, started_s + seconds - time.monotonic()))
                return started_s, epoch_s, list(hook.told)

    return told_in_time(tell, folder)


def _play(address: str, changes: list[Change], started_s: float, machine: Machine) -> None:
    """Each change at its time; those of one moment in one call, as Prometheus sends an evaluation's."""
    began: dict[Labels, str] = {}
    for t_s in sorted({item.t_s for item in changes}):
        due_s = started_s + t_s
        time.sleep(max(0.0, due_s - time.monotonic()))
        post(address, {item.alert: item.firing for item in changes if item.t_s == t_s}, began)
        machine.was_late(due_s)


def post(address: str, alerts: dict[Labels, bool], began: dict[Labels, str]) -> None:
    """Tell Alertmanager of alerts as Prometheus does; `began` remembers since when each fires."""
    now = datetime.now(UTC).isoformat()
    body = []
    for alert, firing in alerts.items():
        if firing:
            began[alert] = now
        posted = {"labels": dict(alert), "startsAt": began[alert]}
        body.append(posted if firing else posted | {"endsAt": now})
    request = urllib.request.Request(
        f"http://{address}/api/v2/alerts",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:  # noqa: S310  # our own server
        assert answer.status == 200


def _path(binary: str) -> str:
    found = shutil.which(binary)
    assert found, binary
    return found


def _wait(process: subprocess.Popen[bytes], ready: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    last = ""
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            with urllib.request.urlopen(ready, timeout=2) as answer:  # noqa: S310  # our own server
                if answer.status == 200:
                    return
        except OSError as error:
            last = str(error)
        time.sleep(0.05)
    raise AssertionError(f"{ready} did not answer within {START_TIMEOUT_S} s; the last: {last}")
