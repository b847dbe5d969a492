"""Finds the search before, and says how this one lies beside it: machines are not always equally fast."""

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from rushhour.jobs.archive.directories import SEARCH_FILE, is_search
from rushhour.jobs.capacity.again import knee_again
from rushhour.jobs.capacity.facts import SEARCHES, Earlier, Search, held

SAME_SPEED: Final = 0.1  # of the CPU that a request takes; a larger difference moves a knee that CPU decides


def latest_before(runs: Path, search: Search) -> Earlier | None:
    """Return the newest search in a folder that found a knee of the same release under the same conditions.

    A file that cannot be read, as one of an older version, is no such search.
    """
    for folder in sorted(runs.glob(f"*-capacity-{search.scenario}"), reverse=True):
        if not is_search(folder):
            continue
        try:
            found = SEARCHES.validate_json((folder / SEARCH_FILE).read_bytes())
        except (OSError, ValidationError):
            continue
        for other in found:
            low, high = other.knee.low, other.knee.high
            if other.knee.kind != "knee" or low is None or high is None:
                continue
            if _conditions(other) == _conditions(search):
                return Earlier(folder.name, low, high, cpu_ms(other))
    return None


def _conditions(search: Search) -> tuple[object, ...]:
    return search.scenario, search.release, search.stack, search.think_time_s, search.scenario_think_time_s


def cpu_ms(search: Search) -> float | None:
    """Return the CPU of the service per request, in ms, at the highest rate that held; None: not known."""
    found = [step.cpu_ms for step in held(search) if step.cpu_ms is not None]
    return sum(found) / len(found) if found else None


def beside(search: Search) -> str:
    """Say how the knee lies beside the one before; empty where there is none to compare with."""
    before, knee = search.earlier, search.knee
    if before is None or knee.kind != "knee" or knee.low is None or knee.high is None:
        return ""
    text = f"The search before ({before.run}) found it between {before.low:g} and {before.high:g}"
    now_ms, then_ms = cpu_ms(search), before.cpu_ms
    if now_ms and then_ms and abs(now_ms / then_ms - 1) > SAME_SPEED:
        more, speed = ("more", "slower") if now_ms > then_ms else ("less", "faster")
        return (
            f"{text}; a request took {then_ms:.1f} ms of the service's CPU then and takes {now_ms:.1f} ms "
            f"now, {abs(now_ms / then_ms - 1):.0%} {more}. Unless the settings differ, the machine is "
            f"{speed} now, and a knee that CPU decides moves with it."
        )
    low, high = knee_again(search) or (knee.low, knee.high)
    agrees = before.low <= high and low <= before.high
    return f"{text}, which {'agrees' if agrees else 'lies further away than these steps explain'}."
