"""How much memory the model of a log takes that comes through a pipe and repeats nothing.

`make bench ARGS=traffic-memory:10` streams ten gigabytes instead of one; nothing of it is on the disk.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.harness import ROOT
from benchmarks.table import Row

PART: Final = 0.1  # of the log, for the growth of memory
BOUND_MB: Final = 500
GROWTH: Final = 1.25  # of memory, for ten times the log
BLOCK: Final = 2_000
START_S: Final = 1_795_900_000
TIMEOUT_S: Final = 7_200
WORDS: Final = ("orders", "customers", "items", "carts", "reviews", "invoices", "search", "login")


def run(gigabytes: str = "1") -> list[Row]:
    """Two processes, so that the peak of each is its own."""
    size = float(gigabytes)
    small, large = streamed(size * PART), streamed(size)
    growth = large["peak_mb"] / small["peak_mb"]
    seen = f"{large['lines'] / 1e6:.1f} million lines, each of another address: {large['peak_mb']:.0f} MB"
    per_minute = large["lines"] / large["cpu_s"] * 60
    return [
        Row(
            f"traffic: memory of {size:g} GB through a pipe",
            f"{seen}, {per_minute / 1e6:.1f} million lines a minute of one core, the model included",
            f"<= {BOUND_MB} MB, >= 1 million",
            large["peak_mb"] <= BOUND_MB and per_minute >= 1e6,
        ),
        Row(
            "traffic: memory for ten times the log",
            f"x {growth:.2f} ({small['peak_mb']:.0f} -> {large['peak_mb']:.0f} MB)",
            f"<= x {GROWTH:g}",
            growth <= GROWTH,
        ),
    ]


def streamed(gigabytes: float) -> dict[str, float]:
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
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            finally:
                if process.returncode is None:
                    process.kill()
                    process.wait()
            if process.returncode:
                said.seek(0)
                raise RuntimeError(f"rushhour traffic -: exit {process.returncode}\n{said.read()[-2000:]}")
    return {
        "peak_mb": usage.ru_maxrss / 1024,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "lines": float(lines),
    }


def blocks() -> Iterator[bytes]:
    """Lines of combined without an end: each has another address, and ids and slugs that do not repeat.

    2,000 requests a second, so that more sessions are open than are followed.
    """
    number = 0
    while True:
        rows = []
        for _ in range(BLOCK):
            number += 1
            mixed = number * 2_654_435_761 % (1 << 32)
            second = number // 2_000
            stamp = time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(START_S + second))
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
            rows.append(
                f'{address} - - [{stamp} +0000] "GET {path} HTTP/1.1" 200 9 "-" "Browser/{mixed % 300}"\n'
            )
        yield "".join(rows).encode()


def letters(number: int) -> str:
    """A word for a number, another for each."""
    found = ""
    while number or not found:
        number, at = divmod(number, 26)
        found += chr(97 + at)
    return found
