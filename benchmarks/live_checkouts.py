"""Ten samples a second with ten thousand connections out, and what samples and served metrics cost.

The processes are idle: all the CPU they use is the agent's. They run side by side and are asked in turn.
"""

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.interval import median_of
from benchmarks.subject import environment, line_from, subject
from benchmarks.table import Row
from rushhour.agent.environment import JOURNAL_VARIABLE, METRICS_VARIABLE
from rushhour.process.ports import free_port

MANY: Final = 10_000
FEW: Final = 15  # a pool of 5 + 10 that is full
ROUNDS: Final = 6
ROUND_S: Final = 5.0
SETTLE_S: Final = 3.0  # each check-out is written once, and then no more
SAMPLES_EACH_S: Final = 10
MIN_SHARE: Final = 0.98  # of those: a machine that does other work wakes a thread late at times
SCRAPE_EACH_S: Final = 1.0
DEADLINE_S: Final = 30.0


def run() -> list[Row]:
    """Measure for about three minutes."""
    with tempfile.TemporaryDirectory(prefix="rushhour-bench-") as folder:
        return [*sampling_rows(Path(folder)), *metrics_rows(Path(folder))]


def sampling_rows(folder: Path) -> list[Row]:
    """Samples a second of wall time, and CPU per sample."""
    rates: dict[int, list[float]] = {FEW: [], MANY: []}
    cpu_ms: dict[int, list[float]] = {FEW: [], MANY: []}
    with ExitStack() as stack:
        subjects = {}
        for count in rates:
            out = folder / str(count)
            out.mkdir()
            subjects[count] = stack.enter_context(holding(count, out, {})), out
        time.sleep(SETTLE_S)
        for _ in range(ROUNDS):
            for count, (process, out) in subjects.items():
                cpu_s, began_s = idle_cpu_s(process), time.monotonic() - ROUND_S
                times_s = [one for one in sample_times_s(out) if began_s <= one <= began_s + ROUND_S]
                rates[count].append(rate_of(times_s, ROUND_S))
                cpu_ms[count].append(cpu_s / ROUND_S / SAMPLES_EACH_S * 1000)
        live = live_in(subjects[MANY][1])
    if live != MANY:
        raise RuntimeError(f"{live:,} check-outs were live, and not {MANY:,}")
    rate, beside = median_of(rates[MANY]), median(rates[FEW])
    least = SAMPLES_EACH_S * MIN_SHARE
    return [
        rate.row(
            f"agent: samples a second with {live:,} check-outs live",
            f"{rate:.2f}, with {FEW} live {beside:.2f}",
            f">= {least:g}",
            least=least,
        ),
        Row(
            "  CPU per sample",
            f"{median(cpu_ms[MANY]):.1f} ms (with {FEW} live {median(cpu_ms[FEW]):.2f} ms)",
            "",
            None,
        ),
    ]


def rate_of(times_s: Sequence[float], round_s: float) -> float:
    """Samples a second of a round, from when they were taken, in order.

    It counts from the first to the last of them, for their phase is chance; but where none was taken at the
    beginning or end of the round, that counts too.
    """
    if not times_s:
        return 0.0
    return (len(times_s) - 1) / max(times_s[-1] - times_s[0], round_s - 1 / SAMPLES_EACH_S)


def metrics_rows(folder: Path) -> list[Row]:
    """CPU of a process with a full pool: with the journal, and with metrics, scraped once a second."""
    ports = free_port(), free_port()
    only = {JOURNAL_VARIABLE: "off"}
    kinds: dict[str, dict[str, str]] = {
        "journal": {},
        "metrics": {METRICS_VARIABLE: str(ports[0]), **only},
        "scraped": {METRICS_VARIABLE: str(ports[1]), **only},
    }
    shares: dict[str, list[float]] = {kind: [] for kind in kinds}
    with ExitStack() as stack:
        subjects = {}
        for kind, variables in kinds.items():
            out = folder / kind
            out.mkdir()
            subjects[kind] = stack.enter_context(holding(FEW, out, variables))
        scrapes_ms = stack.enter_context(scraped(ports[1]))
        time.sleep(SETTLE_S)
        for _ in range(ROUNDS):
            for kind, process in subjects.items():
                shares[kind].append(idle_cpu_s(process) / ROUND_S)
    found = {kind: f"{median(values):.2%}" for kind, values in shares.items()}
    return [
        Row(
            "agent: CPU of one core, a full pool, idle",
            f"{found['journal']} with the journal, {found['metrics']} with metrics instead, "
            f"{found['scraped']} scraped each second",
            "",
            None,
        ),
        Row(
            "  a scrape takes",
            f"{median(scrapes_ms):.0f} ms, at most {max(scrapes_ms):.0f} ms (it waits for the next sample)",
            "",
            None,
        ),
    ]


def holding(
    count: int, out: Path, variables: dict[str, str]
) -> AbstractContextManager[subprocess.Popen[str]]:
    command = [sys.executable, "benchmarks/subjects/live_checkouts.py", str(count)]
    return subject(command, environment(out) | variables)


def idle_cpu_s(process: subprocess.Popen[str]) -> float:
    """CPU seconds of one round."""
    assert process.stdin is not None
    process.stdin.write(f"{ROUND_S}\n")
    process.stdin.flush()
    return float(line_from(process))


def sample_times_s(out: Path) -> list[float]:
    return [float(record["t"]) for record in samples(out)]


def live_in(out: Path) -> int:
    """Check-outs that the newest sample says are live and have outlived their request."""
    *_, newest = samples(out)
    [row] = newest["pools"]
    return min(int(row[5]), int(row[7]))  # as agent/tally.py writes them


def samples(out: Path) -> list[dict[str, Any]]:
    [file] = out.glob("*.jsonl")
    lines = file.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"k":"sample"')]


@contextmanager
def scraped(port: int) -> Iterator[list[float]]:
    """Milliseconds of each scrape, once a second, in a thread of its own."""
    took_ms: list[float] = []
    stop = threading.Event()

    def scrape() -> None:
        while not stop.wait(SCRAPE_EACH_S):
            began_s = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
            connection.request("GET", "/metrics")
            assert b"db_client_connection_count" in connection.getresponse().read()
            connection.close()
            took_ms.append((time.monotonic() - began_s) * 1000)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield took_ms
    finally:
        stop.set()
        thread.join()
