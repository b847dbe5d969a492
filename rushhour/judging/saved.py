"""What a saved run holds besides its facts: where it took place, and what it was judged as."""

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from rushhour.alarms.real_pages import BesideReal
from rushhour.rundir import RunDir
from rushhour.rundir.facts import Environment
from rushhour.rundir.reading import read_object
from rushhour.verdict.judge import Verdict

_VERDICT: Final = TypeAdapter(Verdict)
_ENVIRONMENT: Final = TypeAdapter(Environment)


@dataclass(frozen=True, slots=True)
class _Alarms:
    """Of alarms.json, what is read again."""

    real: tuple[BesideReal, ...] = ()


_ALARMS: Final = TypeAdapter(_Alarms)


def read_verdict(run: RunDir) -> Verdict | None:
    """What a run was judged as; None when it never was. Raises RunDataError on a broken file."""
    return read_object(run.file("verdict.json"), _VERDICT)


def read_environment(run: RunDir) -> Environment | None:
    """Where a run took place; None when that was not written. Raises RunDataError on a broken file."""
    return read_object(run.file("environment.json"), _ENVIRONMENT)


def read_real(run: RunDir) -> tuple[BesideReal, ...]:
    """Real pages beside the predicted ones; empty where the run had no real alarms.

    Raises RunDataError on a broken file.
    """
    found = read_object(run.file("alarms.json"), _ALARMS)
    return found.real if found else ()
