"""What differs between two runs besides the release (pure): then a change may come from there."""

from collections.abc import Iterator
from dataclasses import asdict, is_dataclass, replace
from typing import Any, Final

from rushhour.jobs.compare.measured import MeasuredRun
from rushhour.rundir.facts import Environment
from rushhour.scenario.model import Load, Scenario

# What a run is expected to show does not change what it is.
_SCENARIO_PARTS: Final = ("name", "load", "data", "pool", "service", "postgres", "faults")
_MACHINE: Final = ("stack", "platform", "cpu_count", "python", "postgres", "sqlalchemy", "locust")
_MEMORY_SHARE: Final = 0.05  # kernels of equal machines report slightly different sizes


def differences(before: MeasuredRun, after: MeasuredRun) -> tuple[str, ...]:
    """List each difference of load, data, settings and machine, as "load.users 400 -> 800"."""
    found = [*_scenarios(before.scenario, after.scenario)]
    if before.environment is None or after.environment is None:
        missing = before if before.environment is None else after
        found.append(
            f"{missing.path.name} has no environment.json: whether the machine is the same is unknown"
        )
    else:
        found += _machines(before.environment, after.environment)
    for state, other in ((before, after), (after, before)):
        found += [
            f"only {state.path.name} has requests to {name}"
            for name in state.endpoints
            if other.endpoints and name not in other.endpoints
        ]
        found += [f"only {state.path.name} has CPU of {name}" for name in state.cpu if name not in other.cpu]
    return tuple(found)


def _scenarios(before: Scenario, after: Scenario) -> Iterator[str]:
    for part in _SCENARIO_PARTS:
        old, new = _flat(part, getattr(before, part, None)), _flat(part, getattr(after, part, None))
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                yield f"{'scenario' if key == 'name' else key} {_told(old.get(key))} -> {_told(new.get(key))}"


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Load):
        plain = asdict(replace(value, arrivals=None))
        return {f"{name}.{key}": part for key, part in plain.items()} | {f"{name}.arrivals": _rates(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {f"{name}.{key}": item for key, item in asdict(value).items()}
    return {name: value}


def _rates(load: Load) -> str | None:
    """Write a curve of rates, point by point."""
    if load.arrivals is None:
        return None
    return ", ".join(f"{point.per_s:g}/s from {point.at_s:g} s on" for point in load.arrivals)


def _told(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"{len(value)} of them" if value else "none"
    return f"{value:g}" if isinstance(value, float) else "none" if value in (None, {}) else str(value)


def _machines(before: Environment, after: Environment) -> Iterator[str]:
    for name in _MACHINE:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"{name} {old} -> {new}"
    if abs(before.memory_mb - after.memory_mb) > _MEMORY_SHARE * max(before.memory_mb, after.memory_mb):
        yield f"memory_mb {before.memory_mb} -> {after.memory_mb}"
    for name in sorted({*before.limits, *after.limits}):
        old, new = before.limits.get(name, "none"), after.limits.get(name, "none")
        if old != new:
            yield f"limit of {name}: {old} -> {new}"
