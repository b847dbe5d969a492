"""The parts of a diagnosis."""

from dataclasses import dataclass
from typing import Literal

Confidence = Literal["certain", "likely", "possible"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A number behind a diagnosis, and where in the run's files a reader finds it."""

    signal: str  # "leaked check-outs at the end of the load"
    value: float | str
    unit: str = ""
    source: str = ""  # "pool.jsonl sample.leaked"
    meaning: str = ""  # what it says for or against the cause


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a rule for a run."""

    cause: str
    confidence: Confidence
    share: float  # of the connections out at the worst moment, how many this cause accounts for
    summary: str  # one sentence with the numbers
    fix: str
    evidence: tuple[Evidence, ...] = ()
    amplifiers: tuple[str, ...] = ()  # what came with it and made it worse


@dataclass(frozen=True, slots=True)
class HeldSite:
    """A call site, ranked by the connection-seconds it held."""

    file: str
    line: int
    function: str
    endpoint: str | None
    pool: str
    held: int  # connections out when the watch ended, after the load had drained
    leaked: int  # of them, with their unit of work ended
    held_s: float  # connection-seconds, warm-up included
    max_hold_s: float
    collected: int = 0  # came back after their unit of work had ended, by garbage collection alone
    unit: str = "request"  # what most of the leaked and collected ones were taken for, see units.py


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The primary cause, what made it worse, and the numbers behind it."""

    cause: str  # one of scenario.CAUSES
    confidence: Confidence
    summary: str  # one sentence with the numbers
    fix: str
    amplifiers: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    call_sites: tuple[HeldSite, ...] = ()
    page: str = ""  # what explains the cause: "docs/causes/saturation.md"
