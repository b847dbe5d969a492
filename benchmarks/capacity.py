"""The knee that `rushhour capacity` finds, against a sweep of fixed rates around it, on the same machine.

The sweep runs the rates from low to high and again from high to low, so that a drift of the machine favours
neither end. Its knee lies between the highest rate that held both times and the next one.
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import UNKNOWN, rushhour
from benchmarks.table import Row

SCENARIO: Final = ("gate", "--release", "1.1.1")
RATIOS: Final = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)  # of the rate that held at the end of the search
STEP: Final = ("--set", "load.duration=32s", "--set", "load.warm_up=12s", "--set", "load.think_time=1s")
BOUND: Final = 0.10
PASSED, FAILED = 0, 1


def run() -> list[Row]:
    """Search and sweep, in about twenty minutes."""
    with tempfile.TemporaryDirectory() as folder:
        ended = rushhour("capacity", *SCENARIO, "--json", "--runs", folder)
        if not ended.stdout:
            return [Row("capacity", ended.stderr.strip()[-200:], "a knee", False)]
        [search] = json.loads(ended.stdout)
        knee: dict[str, Any] = search["knee"]
        if knee["kind"] != "knee":
            return [Row("capacity", search["sentence"], "a knee", False)]
        rates = [float(f"{ratio * knee['low']:.3g}") for ratio in RATIOS]
        held = [[_holds(rate, Path(folder)) for rate in rates]]
        held.append([_holds(rate, Path(folder)) for rate in reversed(rates)][::-1])
    swept = knee_of_sweep(rates, list(zip(*held, strict=True)))
    name = "knee against a sweep"
    if swept is None:
        return [Row(name, f"the sweep found no knee: {held}", f"within {BOUND:.0%}", None)]
    middle, swept_middle = (knee["low"] * knee["high"]) ** 0.5, (swept[0] * swept[1]) ** 0.5
    off = middle / swept_middle - 1
    figures = (
        f"{knee['low']:g} to {knee['high']:g} customers/s in {len(search['steps'])} steps, sweep "
        f"{swept[0]:g} to {swept[1]:g}: {off:+.1%}{'' if search['confirmed'] else ' (not confirmed)'}"
    )
    near, between = abs(off) <= BOUND, rates.index(swept[1]) - rates.index(swept[0])
    # A knee that its own repeats do not confirm, or between rates that are far apart, may be near by chance.
    unsure = near and (not search["confirmed"] or between > 1)
    return [Row(name, figures, f"within {BOUND:.0%}", None if unsure else near, unsure)]


def _holds(rate: float, folder: Path) -> bool | None:
    """Return whether a run at a rate passed; None when it is unknown."""
    ended = rushhour("run", *SCENARIO, "--set", f"load.arrivals={rate:g}/s", *STEP, "--runs", str(folder))
    if ended.returncode > UNKNOWN:
        raise RuntimeError(f"a run at {rate:g} a second: exit {ended.returncode}\n{ended.stderr}")
    return {PASSED: True, FAILED: False}.get(ended.returncode)


def knee_of_sweep(rates: list[float], held: list[tuple[bool | None, ...]]) -> tuple[float, float] | None:
    """Return the highest rate at which every run held, and the first that gave way; None: there is no knee.

    They are further apart where runs between them are unknown.
    """
    low = None
    for rate, outcomes in zip(rates, held, strict=True):
        if False in outcomes:
            return None if low is None else (low, rate)
        if all(outcomes):
            low = rate
    return None
