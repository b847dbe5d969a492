"""What a campaign counts, and how it says so."""

from collections.abc import Iterator
from dataclasses import dataclass, field

KEPT_SHOWN = 20


@dataclass(slots=True)
class Counts:
    """Tries of one campaign, and what went wrong in them by kind; `seed` makes the same tries again."""

    name: str
    seed: int
    tries: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)  # kind of try -> tries
    by_code: dict[int, int] = field(default_factory=dict)  # exit code -> tries
    wrong: dict[str, list[str]] = field(default_factory=dict)  # what went wrong -> each try in words
    seconds: float = 0.0

    def note(self, kind: str) -> None:
        self.tries += 1
        self.by_kind[kind] = self.by_kind.get(kind, 0) + 1

    def ended(self, code: int) -> None:
        self.by_code[code] = self.by_code.get(code, 0) + 1

    def blame(self, what: str, details: str) -> None:
        self.wrong.setdefault(what, []).append(details)

    @property
    def bad(self) -> int:
        return sum(len(found) for found in self.wrong.values())

    def lines(self, kinds: tuple[str, ...]) -> Iterator[str]:
        """What was counted; each of `kinds` is named, also when nothing of it was seen."""
        counted = ", ".join(f"{what} {len(self.wrong.get(what, ()))}" for what in kinds)
        yield f"{self.name}, seed {self.seed}: {self.tries:,} tries in {self.seconds:.0f} s; {counted}"
        yield "  " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.by_kind.items()))
        if self.by_code:
            yield "  exit codes: " + ", ".join(
                f"{code} {count:,}" for code, count in sorted(self.by_code.items())
            )
        for what, found in self.wrong.items():
            yield from (f"  {what.upper()}: {details}" for details in found[:KEPT_SHOWN])
            if len(found) > KEPT_SHOWN:
                yield f"  ... and {len(found) - KEPT_SHOWN} more of '{what}'"
