"""Selects the settings that a report shows: those that had an effect in the run.

A user's own service may choose its threads and pool itself, has its own data, and its customers may pause as
their locustfile says.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rushhour.report import words
from rushhour.report.source import LARGEST_BYTES
from rushhour.rundir import History
from rushhour.scenario.model import Scenario

_THINK_TIME: Final = "RUSHHOUR_THINK_TIME_S"  # defined in load/names.py


def pool_words(scenario: Scenario) -> str:
    """Format the pool settings that the service receives: `pool 20 + 10, time-out 30 s`; else empty."""
    pool, given = scenario.pool, _given(scenario)
    parts = []
    if "pool_size" in given and "max_overflow" in given:
        parts.append(f"{pool.size} + {pool.max_overflow}")
    elif "pool_size" in given:
        parts.append(f"{pool.size}")
    if "pool_timeout" in given:
        parts.append(f"time-out {pool.timeout:g} s")
    return f"pool {', '.join(parts)}" if parts else ""


def rows(scenario: Scenario, history: History) -> Iterator[tuple[str, str]]:
    """Return name and value of each setting that had an effect in the run."""
    load = scenario.load
    yield (
        "load",
        f"{load.in_words()}, {load.shape_in_words()}, {words.seconds(load.duration)}, {load.locustfile}",
    )
    if uses_think_time(scenario):
        yield "think time", f"{words.seconds(load.think_time)} median"
    yield "warm-up", words.seconds(load.warm_up)
    if given := pool_words(scenario):
        yield "pool", given.removeprefix("pool ")
    else:
        yield from _pools_seen(history)
    yield "service", _service(scenario)
    if scenario.target.schema and not scenario.target.url:
        yield "data", f"{scenario.data.size}, seed {scenario.data.seed}"


def uses_think_time(scenario: Scenario) -> bool:
    """Return whether the locustfile, or a module of its folder that it imports, reads the think time.

    A file that cannot be read counts as one that does not.
    """
    return _reads_think_time(Path(scenario.target.root) / scenario.load.locustfile, set())


def _service(scenario: Scenario) -> str:
    service, given = scenario.service, _given(scenario)
    parts = []
    if "workers" in given:
        parts.append(
            f"{service.workers} x"
            if "threads" in given
            else f"{service.workers} process{'es' * (service.workers != 1)}"
        )
    if "threads" in given:
        parts.append(f"{service.threads} threads")
    return ", ".join(filter(None, [scenario.target.name, " ".join(parts)]))


def _given(scenario: Scenario) -> frozenset[str]:
    """Return the settings that the command or environment of the service contains as placeholders."""
    target, service = scenario.target, scenario.service
    if target.url:
        return frozenset()
    texts = [*target.environment.values(), *service.environment.values()]
    if not target.compose:
        texts += [target.command, service.arguments]
    names = ("workers", "threads", "pool_size", "max_overflow", "pool_timeout")
    given = {name for name in names if any(f"{{{name}}}" in text for text in texts)}
    if target.app and not (target.command or target.compose):
        given |= {"workers", "threads"}  # rushhour serves the app with gunicorn
    return frozenset(given)


def _pools_seen(history: History) -> Iterator[tuple[str, str]]:
    """Return the pools that the agent saw, with their settings."""
    seen = {
        sample.pool: f"{sample.size} + {sample.max_overflow}, time-out {words.seconds(sample.timeout_s)}"
        if sample.capacity is not None
        else f"{sample.kind}, without a limit"
        for sample in history.pools
    }
    yield from ((f"pool {name}", text) for name, text in sorted(seen.items()))


def _reads_think_time(path: Path, seen: set[Path]) -> bool:
    """Parse the locustfile without running it: a stranger may have made the run directory that names it."""
    seen.add(path)
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
            return False
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return False  # it cannot be read now, so what it reads is not known
    imported: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=value) if value == _THINK_TIME:
                return True
            case ast.Import(names=names):
                imported += [alias.name for alias in names]
            case ast.ImportFrom(module=module, names=names):
                imported += [module or "", *(f"{module}.{alias.name}".lstrip(".") for alias in names)]
    beside = (path.parent / f"{name.split('.')[-1]}.py" for name in imported if name)
    return any(_reads_think_time(module, seen) for module in beside if module not in seen)
