"""How much memory the model of a log takes that comes through a pipe, and whether it grows with the log.

Two logs: one that repeats nothing, which is the worst there is, and one as services write it.
`make bench ARGS=traffic-memory:1,10` streams one gigabyte of the first and ten of the second; nothing
of them is on the disk.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.arguments import number, split
from benchmarks.harness import ROOT
from benchmarks.table import Row
from benchmarks.usage import end_of

PART: Final = 0.1  # of the log, for the growth of memory
LEAST_GB, MOST_GB = 0.01, 1_000.0
BOUND_MB: Final = 500
GROWTH: Final = 1.25  # of memory, for ten times the log
BLOCK: Final = 2_000  # lines, which are those of one second
SECONDS_MADE: Final = 200  # of a usual log, which then begins again, later
START_S: Final = 1_795_900_000
TIMEOUT_S: Final = 7_200
WORDS: Final = ("orders", "customers", "items", "carts", "reviews", "invoices", "search", "login")


def arguments(text: str) -> list[float]:
    """Read the gigabytes of both logs, or of each of them. Raises ValueError."""
    return [number(part, LEAST_GB, MOST_GB) for part in split(text, 2)]


def run(worst: float = 1.0, usual: float | None = None) -> list[Row]:
    """Each log twice, a tenth and the whole; a process for each, so that its peak is its own."""
    return [
        *rows("nothing repeats", unrepeated, worst),
        *rows("as services write it", usual_blocks, worst if usual is None else usual),
    ]


def rows(name: str, blocks: Callable[[], Iterator[bytes]], gigabytes: float) -> Iterator[Row]:
    small, large = streamed(blocks, gigabytes * PART), streamed(blocks, gigabytes)
    growth = large["peak_mb"] / small["peak_mb"]
    per_minute = large["lines"] / large["cpu_s"] * 60
    yield Row(
        f"traffic: {gigabytes:g} GB through a pipe, {name}",
        f"{large['peak_mb']:.0f} MB; {large['lines'] / 1e6:.1f} million lines, "
        f"{per_minute / 1e6:.1f} million a minute of one core, the model included",
        f"<= {BOUND_MB} MB, >= 1 million",
        large["peak_mb"] <= BOUND_MB and per_minute >= 1e6,
    )
    yield Row(
        f"traffic: memory for ten times the log, {name}",
        f"x {growth:.2f} ({small['peak_mb']:.0f} -> {large['peak_mb']:.0f} MB)",
        f"<= x {GROWTH:g}",
        growth <= GROWTH,
    )


def streamed(blocks: Callable[[], Iterator[bytes]], gigabytes: float) -> dict[str, float]:
    """Peak of memory (MB), CPU time (s) and lines of `rushhour traffic -`."""
    with tempfile.TemporaryDirectory(prefix="rushhour-traffic-") as folder:
        command = [sys.executable, "-m", "rushhour", "traffic", "-", "--out", str(Path(folder) / "out")]
        with (Path(folder) / "said").open("w+", encoding="utf-8") as said:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=said, stderr=said)
            assert process.stdin is not None
            lines = sent = 0
            began_s = time.monotonic()
            try:
                for block in blocks():
                    process.stdin.write(block)
                    lines, sent = lines + BLOCK, sent + len(block)
                    if sent >= gigabytes * 1e9:
                        break
                    if time.monotonic() - began_s > TIMEOUT_S:
                        raise RuntimeError(f"rushhour traffic -: {sent:,} bytes taken in {TIMEOUT_S} s")
                process.stdin.close()
                used = end_of(process)
            finally:
                if process.returncode is None:
                    process.kill()
                    process.wait()
            if process.returncode:
                said.seek(0)
                raise RuntimeError(f"rushhour traffic -: exit {process.returncode}\n{said.read()[-2000:]}")
    return {"peak_mb": used.peak_mb, "cpu_s": used.cpu_s, "lines": float(lines)}


def unrepeated() -> Iterator[bytes]:
    """Lines of combined without an end: each has another address, and ids and slugs that do not repeat.

    2,000 requests a second, so that more sessions are open than are followed.
    """
    number = 0
    while True:
        lines = []
        for _ in range(BLOCK):
            number += 1
            mixed = number * 2_654_435_761 % (1 << 32)
            word = WORDS[mixed % len(WORDS)]
            path = (
                f"/{word}/{mixed}/detail",
                f"/{word}/{letters(mixed)}",
                f"/{letters(mixed % 5_000)}/{letters(mixed)}/{number}",
                f"/{word}",
            )[number % 4]
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            if number >> 24:
                address = f"2001:db8::{number >> 16:x}:{number & 65_535:x}"
            lines.append(combined(address, stamp(number // BLOCK), path, mixed % 300))
        yield "".join(lines).encode()


def usual_blocks() -> Iterator[bytes]:
    """Lines of combined without an end: 40,000 clients, 100,000 ids, 2,000 requests a second."""
    draw = random.Random(7)  # noqa: S311  # the same log each time
    made = []
    for _ in range(SECONDS_MADE):
        lines = []
        for _ in range(BLOCK):
            client, ident = draw.randrange(40_000), int(draw.paretovariate(0.5)) % 100_000
            path = f"/{WORDS[draw.randrange(len(WORDS))]}/{ident}{draw.choice(('', '/detail', '?page=2'))}"
            lines.append(combined(f"10.0.{client >> 8}.{client & 255}", "@", path, client % 300))
        made.append("".join(lines).encode())
    second = 0
    while True:
        yield made[second % len(made)].replace(b"@", stamp(second).encode())
        second += 1


def combined(address: str, at: str, path: str, browser: int) -> str:
    return f'{address} - - [{at} +0000] "GET {path} HTTP/1.1" 200 9 "-" "Browser/{browser}"\n'


def stamp(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(START_S + second))


def letters(number: int) -> str:
    """A word for a number, another for each."""
    found = ""
    while number or not found:
        number, at = divmod(number, 26)
        found += chr(97 + at)
    return found
