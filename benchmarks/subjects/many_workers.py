"""Speaks for many workers of Locust, over one socket each; prints what they sent.

python -m benchmarks.subjects.many_workers PORT NUMBER OF WORKERS SILENT_AFTER_S GIVES_UP_S

It speaks for the workers whose index leaves NUMBER when divided by OF. The first of NUMBER 0 falls silent, as
if its machine were gone, SILENT_AFTER_S seconds after its first report.
"""

# Locust's classes carry no types.
# mypy: allow-untyped-calls

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgpack
import zmq
from locust import __version__
from locust.stats import RequestStats

from rushhour.load.messages import FACTS, FIT, HELLO, JOIN, Report, pack
from rushhour.load.recorder import Clock, Tally
from rushhour.load.recording import PAST_S
from rushhour.rundir.facts import Outcome

ENDPOINTS: Final = 40
OUTCOMES: Final = (
    Outcome.OK,
    Outcome.HTTP_4XX,
    Outcome.HTTP_5XX,
    Outcome.QUEUEPOOL_TIMEOUT,
    Outcome.CLIENT_TIMEOUT,
)
VALUES: Final = {Outcome.OK: 40}  # requests of an endpoint in a second; of the other outcomes 1
STATS_S: Final = 3.0
POLL_MS: Final = 20
DICE: Final = Random(7)  # noqa: S311 - the same reports each time
VARIANTS: Final = 20  # reports that workers take turns with


@dataclass(slots=True)
class Worker:
    """One worker, as its master sees it."""

    identity: str
    socket: zmq.Socket[bytes]
    name: str = ""
    customers: int = 0
    state: str = "ready"
    zero_s: float = 0.0  # the anchor, by this machine's monotonic clock
    begun: bool = False
    silent: bool = False
    done: bool = False
    next_s: dict[str, float] = field(default_factory=dict)
    bytes_sent: int = 0

    def send(self, kind: str, data: Any = None) -> None:
        message = msgpack.dumps((kind, data, self.identity))
        self.bytes_sent += len(message)
        self.socket.send(message)


@dataclass(frozen=True, slots=True)
class Script:
    """What the workers say, and a count of what they said."""

    reports: list[list[list[Any]]]
    stats: dict[str, Any]
    silent_after_s: float
    sent: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)  # reports of each worker


def main(port: int, indexes: range, silent_after_s: float, gives_up_s: float) -> None:
    """Speak until every worker was asked to quit, at most for `gives_up_s` seconds."""
    context, poller = zmq.Context(), zmq.Poller()
    context.set(zmq.MAX_SOCKETS, 4 * len(indexes) + 100)
    by_socket: dict[zmq.Socket[bytes], Worker] = {}
    for index in indexes:
        socket = context.socket(zmq.DEALER)
        worker = Worker(f"simulated-{index}", socket)
        socket.setsockopt(zmq.IDENTITY, worker.identity.encode())
        socket.setsockopt(zmq.SNDHWM, 100_000)
        socket.connect(f"tcp://127.0.0.1:{port}")
        poller.register(socket, zmq.POLLIN)
        by_socket[socket] = worker
        worker.send("client_ready", __version__)
    script = Script([_report() for _ in range(VARIANTS)], _stats(), silent_after_s)
    silent: dict[str, float] = {}
    victim = next(iter(by_socket.values())) if indexes.start == 0 else None
    deadline_s = time.monotonic() + gives_up_s
    while time.monotonic() < deadline_s and not all(each.done or each.silent for each in by_socket.values()):
        for ready, _ in poller.poll(POLL_MS):
            _answer(by_socket[ready], script)
        now_s = time.monotonic()
        for worker in by_socket.values():
            if worker.silent or worker.done:
                continue
            if worker is victim and worker.begun and now_s > worker.next_s["silent"]:
                worker.silent = True
                silent[worker.name] = time.time()
                continue
            _send_due(worker, now_s, script)
    said = {"sent": script.sent, "reports": script.told.total(), "silent": silent}
    said["bytes"] = sum(worker.bytes_sent for worker in by_socket.values())
    print(json.dumps(said), flush=True)
    context.destroy(linger=1000)


def _answer(worker: Worker, script: Script) -> None:
    kind, data, _ = msgpack.loads(worker.socket.recv(), raw=False, strict_map_key=False)
    if worker.silent:
        return
    if kind == "ack":
        worker.name = f"worker-{data['index']}"
        worker.send(HELLO)
    elif kind == JOIN:
        worker.zero_s = time.monotonic() - data["now_s"]
        worker.send(FIT)
    elif kind == "spawn":
        worker.send("spawning")
        counts = data["user_classes_count"]
        worker.customers = sum(counts.values())
        worker.send("spawning_complete", {"user_classes_count": counts, "user_count": worker.customers})
        worker.state = "running"
    elif kind == "stop":
        if worker.begun:
            worker.send(FACTS, _facts(worker, script, final=True))
        worker.send("client_stopped")
        worker.send("client_ready", __version__)
        worker.state, worker.begun = "ready", False
    elif kind == "quit":
        worker.done = True


def _send_due(worker: Worker, now_s: float, script: Script) -> None:
    due = worker.next_s
    if now_s >= due.get("heartbeat", 0.0) and worker.name:
        due["heartbeat"] = now_s + 1
        beat = {"state": worker.state, "current_cpu_usage": 10.0, "current_memory_usage": 100_000_000}
        worker.send("heartbeat", beat)
    if worker.state != "running":
        return
    if not worker.begun:
        worker.begun = True
        second_s = now_s + 1 - (now_s - worker.zero_s) % 1 + PAST_S  # workers report at the end of a second
        apart_s = DICE.uniform(0, STATS_S)
        due |= {"report": second_s, "stats": now_s + apart_s, "silent": now_s + script.silent_after_s}
    if now_s >= due["report"]:
        due["report"] += 1
        worker.send(FACTS, _facts(worker, script))
    if now_s >= due["stats"]:
        due["stats"] += STATS_S
        worker.send("stats", script.stats | {"user_count": worker.customers})


def _facts(worker: Worker, script: Script, *, final: bool = False) -> dict[str, Any]:
    """Return a worker's report of the last second, and count what it holds."""
    t_s = int(time.monotonic() - worker.zero_s - (0 if final else 1))  # the second that has just ended
    rows = [[t_s, *row[1:5], worker.name, *row[6:]] for row in DICE.choice(script.reports)]
    for row in rows:
        script.sent[f"{t_s} {row[1]} {row[2]}"] += row[3]
    script.told[worker.name] += 1
    sample = [t_s, worker.name, worker.customers, sum(row[3] for row in rows), 0, 1.0, 2.0, 0.1]
    return {"rows": rows, "samples": [sample], "final": final, "raised": []}


def _report() -> list[list[Any]]:
    """Return the rows of a second, as a worker packs them."""
    tally = Tally(Clock(time.monotonic()), "worker", time.process_time)
    for endpoint in range(ENDPOINTS):
        median_ms = DICE.uniform(4, 40)
        for outcome in OUTCOMES:
            for _ in range(VALUES.get(outcome, 1)):
                took_ms = median_ms * DICE.lognormvariate(0, 0.5)
                tally.ended("GET", f"/shops/:id/list-{endpoint:02}", outcome, took_ms, 404)
    rows: list[list[Any]] = pack(Report(tuple(tally.rows(final=True))))["rows"]
    return rows


def _stats() -> dict[str, Any]:
    """Return what Locust's own reporter sends."""
    stats = RequestStats()
    for endpoint in range(ENDPOINTS):
        for _ in range(3 * VALUES[Outcome.OK]):
            stats.log_request("GET", f"/shops/:id/list-{endpoint:02}", DICE.randrange(4, 80), 600)
    data: dict[str, Any] = {
        "stats": stats.serialize_stats(),
        "stats_total": stats.total.get_stripped_report(),
    }
    return data | {"errors": {}, "user_classes_count": {}}


if __name__ == "__main__":
    PORT, NUMBER, OF, WORKERS = map(int, sys.argv[1:5])
    main(PORT, range(NUMBER, WORKERS, OF), *map(float, sys.argv[5:7]))
