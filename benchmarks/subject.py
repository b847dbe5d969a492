"""A process that a benchmark asks: it answers a line with a line."""

import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.harness import ROOT
from rushhour.agent.environment import agent_environment

DEADLINE_S: Final = 30.0


def turns(
    count: int, measure: Callable[[], float], switch: Callable[[str], object]
) -> Iterator[tuple[float, float]]:
    """What was measured without the agent and with it, twice a turn; each time next to each other.

    `switch` is told "in" and "out". A coin says which comes first and last in a turn, so that whatever grows
    or comes at regular times weighs on both alike.
    """
    coin = random.Random(1)  # noqa: S311  # no secret
    for _ in range(count):
        outer, inner = coin.choice((("out", "in"), ("in", "out")))
        switch(outer)
        first = measure()
        switch(inner)
        between = measure(), measure()
        switch(outer)
        for beside, amid in zip((first, measure()), between, strict=True):
            yield (beside, amid) if outer == "out" else (amid, beside)
    switch("out")


@contextmanager
def subject(command: Sequence[str | Path], settings: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that said that it is ready, and answers a line with a line; killed in the end."""
    with subprocess.Popen(
        command, cwd=ROOT, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line_from(process)  # "ready"
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], cycles: int) -> float:
    """Microseconds of CPU per cycle."""
    return float(tell(process, str(cycles)))


def tell(process: subprocess.Popen[str], word: str) -> str:
    """What it answers."""
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    return line_from(process)


def line_from(process: subprocess.Popen[str]) -> str:
    """Raises RuntimeError when the process ended, as it does after half a minute without an answer."""
    assert process.stdout is not None
    watch = threading.Timer(DEADLINE_S, process.kill)
    watch.start()
    try:
        line = process.stdout.readline()
    finally:
        watch.cancel()
    if not line:
        raise RuntimeError(f"{process.args!r} ended without an answer within {DEADLINE_S:g} s")
    return line


def environment(agent_out: Path | None) -> dict[str, str]:
    """Of a subject. One hash seed for all: dicts that are laid out otherwise differ by some per cent."""
    base = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONHASHSEED": "0"}
    return base if agent_out is None else base | agent_environment(agent_out, base)
