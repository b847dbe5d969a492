"""The row that every benchmark returns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One claim: what was measured, in words with its numbers; whether it met its bound.

    `ok` is None where there is no bound (an empty text) or no measurement, and where that is too coarse for
    the bound, as `unsure` says: neither met nor missed.
    """

    name: str
    measured: str
    bound: str
    ok: bool | None
    unsure: bool = False

    @property
    def missing(self) -> bool:
        """Whether nothing was measured that the bound could be compared with."""
        return bool(self.bound) and self.ok is None and not self.unsure
