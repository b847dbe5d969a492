"""The row that every benchmark returns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One claim: what was measured, in words with its numbers; whether it met its bound (None: it has none)."""

    name: str
    measured: str
    bound: str
    ok: bool | None
