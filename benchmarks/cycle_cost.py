"""What the agent adds to a check-out and check-in: it goes in and out of one process, in turns."""

from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from benchmarks.subject import ROOT, ask, environment, subject, tell, turns
from benchmarks.table import Row

MAX_ADDED_US: Final = 5.0
MAX_ADDED_SHARE: Final = 0.15  # under asyncio, whose cycle takes ten times as long
# Few cycles in a block would weigh the agent's ticks, which come whether anybody takes a connection or not.
CYCLES: Final = 4_000
STARTS: Final = 2
TURNS: Final = 12
ASYNCIO_TURNS: Final = 30  # half of them scatter by as much as the agent costs


def cost_row(name: str, python: Path, url: str, worker: str, out: Path) -> Row:
    """A check-out and check-in over a driver, in a worker of a kind (benchmarks/subjects/driver_cycle.py)."""
    costs, plain = switched(python, url, worker, out)
    cost, without = median(costs), median(plain)
    low, _, high = quantiles(costs)
    measured = f"{cost:.1f} us ({low:.1f} to {high:.1f}) added to {without:.1f} us"
    if worker == "asyncio":  # in pairs, for another guest of the machine lengthens both of a pair
        share = median(added / beside for added, beside in zip(costs, plain, strict=True))
        return Row(name, f"{share:.1%}: {measured}", f"<= {MAX_ADDED_SHARE:.0%}", share <= MAX_ADDED_SHARE)
    return Row(name, measured, f"<= {MAX_ADDED_US:g} us", cost <= MAX_ADDED_US)


def switched(python: Path, url: str, worker: str, out: Path) -> tuple[list[float], list[float]]:
    """What the agent added in each turn, and what a cycle took without it, in microseconds of CPU."""
    count = ASYNCIO_TURNS if worker == "asyncio" else TURNS
    costs, plain = [], []
    settings = environment(None) | {"PYTHONPATH": str(ROOT)}
    for _ in range(STARTS):  # no two processes are laid out alike in memory
        command: list[str | Path] = [python, "benchmarks/subjects/driver_cycle.py", url, worker, str(out)]
        with subject(command, settings) as process:
            for without, observed in turns(count, partial(ask, process, CYCLES), partial(tell, process)):
                costs.append(observed - without)
                plain.append(without)
    return costs, plain
