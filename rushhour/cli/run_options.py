"""What every command that brings a stack up is given."""

from dataclasses import dataclass
from pathlib import Path

from rushhour.scenario.settings import Setting
from rushhour.stack.choose import Asked


@dataclass(frozen=True, slots=True)
class Options:
    """As the command line has them."""

    scenarios: Path
    stack: Asked
    image: str | None
    allow_host: str | None
    release: str | None
    runs: Path
    postgres_bin: Path | None
    workers: int | None
    workers_at: str | None
    settings: tuple[Setting, ...] = ()  # keys of the scenarios that the command line sets
