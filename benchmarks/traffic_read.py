"""How fast access logs are read, in how much memory, and how fast GoAccess is on the same file."""

import gzip
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.harness import ROOT
from benchmarks.table import Row

LINES: Final = 1_000_000
SOME_LINES: Final = 200_000
BLOCK: Final = 10_000
BOUND_PER_MINUTE: Final = 1_000_000
BOUND_MB: Final = 500
GROWTH: Final = 1.1  # of memory, for five times the lines
TIMEOUT_S: Final = 600
AGENTS: Final = [f"Mozilla/5.0 (X11; Linux x86_64) ExampleBrowser/{version}.0" for version in range(200)]


def run() -> list[Row]:
    """One process for each file, so that its peak of memory is its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, many = folder / "few.log", folder / "many.log"
        written(few, combined, SOME_LINES)
        written(many, combined, LINES)
        small, large = taken(few), taken(many)
        rows = [speed_row("combined, a million lines", large), memory_row(small, large)]
        for form, make in (("Caddy's JSON", caddy), ("HAProxy", haproxy), ("garbage", garbage)):
            log = folder / "other.log"
            written(log, make, SOME_LINES)
            rows.append(speed_row(form, taken(log)))
        packed = folder / "few.log.gz"
        packed.write_bytes(gzip.compress(few.read_bytes(), 6))
        rows.append(speed_row("combined, .gz", taken(packed)))
        rows.append(goaccess_row(many, large["cpu_s"]))
    return rows


def speed_row(name: str, took: dict[str, float]) -> Row:
    per_minute = took["lines"] / took["cpu_s"] * 60
    measured = f"{per_minute / 1e6:.1f} million lines a minute of one core, {took['peak_mb']:.0f} MB"
    bound = f">= {BOUND_PER_MINUTE / 1e6:g} million, <= {BOUND_MB} MB"
    met = per_minute >= BOUND_PER_MINUTE and took["peak_mb"] <= BOUND_MB
    return Row(f"access logs: {name}", measured, bound, met)


def memory_row(small: dict[str, float], large: dict[str, float]) -> Row:
    growth = large["peak_mb"] / small["peak_mb"]
    measured = (
        f"{small['peak_mb']:.0f} MB for {small['lines']:,.0f} lines, {large['peak_mb']:.0f} MB for five times"
    )
    return Row("access logs: memory does not grow", measured, f"<= {GROWTH:g} times", growth <= GROWTH)


def goaccess_row(log: Path, ours_s: float) -> Row:
    name = "access logs: GoAccess on the same file"
    program = shutil.which("goaccess")
    if program is None:
        return Row(name, "goaccess is missing here: apt-get install goaccess", "", None)
    command = [program, str(log), "--log-format=COMBINED", "--no-global-config", "--no-progress"]
    command += ["--output", str(log.with_suffix(".json"))]
    before_s = children_cpu_s()
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S)
    theirs_s = children_cpu_s() - before_s
    per_minute = LINES / theirs_s * 60 / 1e6
    measured = f"{per_minute:.1f} million lines a minute of CPU, its counting included"
    measured += f"; reading here takes {ours_s / theirs_s:.1f} times as long"
    return Row(name, measured, "", None)


def children_cpu_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def taken(log: Path) -> dict[str, float]:
    """What reading a log took, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.subjects.read_logs", str(log)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    took: dict[str, float] = json.loads(ended.stdout)
    return took


def written(log: Path, make: Callable[[random.Random, int], str], lines: int) -> None:
    """Many visitors, ids and queries, 300 requests a second."""
    draw = random.Random(7)  # noqa: S311  # the same file each time
    with log.open("w", encoding="latin-1") as file:
        for _, block in blocks(lines):
            file.write("".join(make(draw, number) for number in block))
    os.sync()


def blocks(lines: int) -> Iterator[tuple[int, range]]:
    for first in range(0, lines, BLOCK):
        yield first, range(first, min(first + BLOCK, lines))


def combined(draw: random.Random, number: int) -> str:
    at = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(1_795_951_200 + number // 300))
    host = f"192.0.2.{draw.randrange(256)}"
    query = f"?page={draw.randrange(50)}" if draw.random() < 0.3 else ""
    path = f"/customers/{draw.randrange(100_000)}/referrals{query}"
    return f'{host} - - [{at}] "GET {path} HTTP/1.1" 200 {draw.randrange(9000)} "-" "{draw.choice(AGENTS)}"\n'


def caddy(draw: random.Random, number: int) -> str:
    fields = {
        "level": "info",
        "ts": 1_795_951_200 + number / 300,
        "logger": "http.log.access.log0",
        "msg": "handled request",
        "request": {
            "remote_ip": f"192.0.2.{draw.randrange(256)}",
            "proto": "HTTP/1.1",
            "method": "GET",
            "host": "example.org",
            "uri": f"/customers/{draw.randrange(100_000)}/referrals",
            "headers": {"User-Agent": [draw.choice(AGENTS)], "Accept": ["*/*"]},
        },
        "duration": draw.random(),
        "size": draw.randrange(9000),
        "status": 200,
        "resp_headers": {"Server": ["Caddy"]},
    }
    return json.dumps(fields) + "\n"


def haproxy(draw: random.Random, number: int) -> str:
    at = time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(1_795_951_200 + number // 300))
    return (
        f"192.0.2.{draw.randrange(256)}:{draw.randrange(60_000)} [{at}.{number % 1000:03}] shop pool/one "
        f"0/0/0/{draw.randrange(90)}/{draw.randrange(90, 200)} 200 125 - - ---- 1/1/0/0/0 0/0 "
        f'"GET /customers/{draw.randrange(100_000)}/referrals HTTP/1.1"\n'
    )


def garbage(draw: random.Random, number: int) -> str:
    """One request in a thousand lines; the rest is of no format."""
    if number % 1000 == 0:
        return combined(draw, number)
    return draw.randbytes(100).decode("latin-1").replace("\n", " ") + "\n"
