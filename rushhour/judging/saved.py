"""What a saved run holds besides its facts: where it took place, and what it was judged as."""

from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from rushhour.alarms.real_pages import BesideReal
from rushhour.errors import RunDataError
from rushhour.rundir import RunDir
from rushhour.rundir.facts import Environment
from rushhour.verdict.judge import Verdict

T = TypeVar("T")

_VERDICT: Final = TypeAdapter(Verdict)
_ENVIRONMENT: Final = TypeAdapter(Environment)
_REAL: Final = TypeAdapter(tuple[BesideReal, ...])


def read_verdict(run: RunDir) -> Verdict | None:
    """What a run was judged as; None when it never was. Raises RunDataError on a broken file."""
    return _read(run, "verdict.json", _VERDICT)


def read_environment(run: RunDir) -> Environment | None:
    """Where a run took place; None when that was not written. Raises RunDataError on a broken file."""
    return _read(run, "environment.json", _ENVIRONMENT)


def read_real(run: RunDir) -> tuple[BesideReal, ...]:
    """Real pages beside the predicted ones; empty where the run had no real alarms.

    Raises RunDataError on a broken file.
    """
    if not run.file("alarms.json").exists():
        return ()
    try:
        return _REAL.validate_python(run.read_json("alarms.json").get("real", []))
    except ValidationError as error:
        raise RunDataError(f"{run.file('alarms.json')}: real: {error.errors()[0]['msg']}") from None


def _read(run: RunDir, name: str, adapter: TypeAdapter[T]) -> T | None:
    if not run.file(name).exists():
        return None
    content: Any = run.read_json(name)
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunDataError(f"{run.file(name)}: {where}: {first['msg']}") from None
