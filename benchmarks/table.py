"""The row that every benchmark returns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One claim: what was measured, in words with its numbers; whether it met its bound (None: no bound)."""

    name: str
    measured: str
    bound: str
    ok: bool | None
