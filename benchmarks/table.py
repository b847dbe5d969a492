"""The row that every benchmark returns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One claim: what was measured, in words with its numbers; whether it met its bound.

    `ok` is None where there is no bound or no measurement, and where that is too coarse for the bound, as
    `unsure` says: neither met nor missed.
    """

    name: str
    measured: str
    bound: str
    ok: bool | None
    unsure: bool = False
