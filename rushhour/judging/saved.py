"""Reads the verdict, environment and real pages of a saved run."""

from dataclasses import dataclass, replace
from typing import Final

from pydantic import TypeAdapter

from rushhour.alarms.real_pages import BesideReal
from rushhour.errors import RunDataError
from rushhour.report.traffic import TrafficSection
from rushhour.rundir import RunDir
from rushhour.rundir.facts import Environment
from rushhour.rundir.reading import read_object
from rushhour.rundir.traffic import TRAFFIC_FILE, VERSION, TrafficComparison
from rushhour.verdict.judge import Verdict

_VERDICT: Final = TypeAdapter(Verdict)
_ENVIRONMENT: Final = TypeAdapter(Environment)
_TRAFFIC: Final = TypeAdapter(TrafficComparison)


@dataclass(frozen=True, slots=True)
class _Alarms:
    """The part of alarms.json that is read again."""

    real: tuple[BesideReal, ...] = ()


_ALARMS: Final = TypeAdapter(_Alarms)


def read_verdict(run: RunDir) -> Verdict | None:
    """Read the verdict of a run; None when it was never judged. Raises RunDataError on a broken file."""
    return read_object(run.file("verdict.json"), _VERDICT)


def read_environment(run: RunDir) -> Environment | None:
    """Read the environment of a run; None when it was not written. Raises RunDataError on a broken file."""
    return read_object(run.file("environment.json"), _ENVIRONMENT)


def read_real(run: RunDir) -> tuple[BesideReal, ...]:
    """Read the real pages of a run with their predictions; empty for a run without real alarms.

    Raises RunDataError on a broken file.
    """
    found = read_object(run.file("alarms.json"), _ALARMS)
    return found.real if found else ()


def traffic_section(run: RunDir, verdict: Verdict) -> TrafficSection | None:
    """Return what the report shows of the run's traffic; None for a run that was compared with no log.

    A file that cannot be read makes no run unjudged: it is made again by `rushhour traffic --compare`.
    """
    try:
        found = read_object(run.file(TRAFFIC_FILE), _TRAFFIC)
    except RunDataError as error:
        return TrafficSection(None, f"{error}; rushhour traffic --compare makes it anew")
    if found is None:
        return None
    if found.version != VERSION:
        made = f"{run.file(TRAFFIC_FILE)}: version {found.version}, and this rushhour reads {VERSION}"
        return TrafficSection(None, f"{made}; rushhour traffic --compare makes it anew")
    doubts = tuple(verdict.reasons) if verdict.verdict == "unknown" else ()
    return TrafficSection(replace(found, doubts=doubts))
