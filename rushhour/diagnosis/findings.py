"""What a diagnosis says."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number behind a diagnosis, and where in the run's files a reader finds it."""

    signal: str  # "leaked check-outs at the end of the load"
    value: float | str
    unit: str = ""
    source: str = ""  # "pool.jsonl sample.leaked"
    meaning: str = ""  # what it says for or against the cause


@dataclass(frozen=True, slots=True)
class HeldSite:
    """A call site, ranked by the connection-seconds it held."""

    file: str
    line: int
    function: str
    endpoint: str | None
    pool: str
    held: int  # connections out at the end of the load
    leaked: int  # of them, with their request ended
    held_s: float  # connection-seconds, warm-up included
    max_hold_s: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One primary cause, what made it worse, and the numbers behind it."""

    cause: str  # one of scenario.CAUSES
    confidence: Literal["certain", "likely", "possible"]
    summary: str  # one sentence with the numbers
    fix: str
    amplifiers: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    call_sites: tuple[HeldSite, ...] = ()
