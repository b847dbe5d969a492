"""An objection: what a witness of a run says against a cause."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from rushhour.diagnosis.findings import Confidence, Evidence

Witness = Literal["the agent", "the servers", "the answers", "the service"]

MOST: Final = 0.5  # of the looks, backends or connections
NEARLY_ALL: Final = 0.8
HARDLY_ANY: Final = 0.1
ENOUGH_LOOKS: Final = 20  # fewer say nothing about a share

_RANK: Final[tuple[Confidence, ...]] = ("possible", "likely", "certain")


@dataclass(frozen=True, slots=True)
class Objection:
    """Evidence of a witness against a cause."""

    witness: Witness
    says: str
    source: str  # where in the run's files a reader finds it
    at_most: Confidence = "possible"  # how sure the diagnosis may be all the same
    refutes: bool = False  # the cause cannot be right

    def as_evidence(self, cause: str) -> Evidence:
        """Return this objection as evidence of the diagnosis."""
        meaning = f"{cause} is ruled out" if self.refutes else f"it speaks against {cause}"
        return Evidence(
            f"against {cause}, says {self.witness.removeprefix('the ')}", self.says, "", self.source, meaning
        )


def believed(confidence: Confidence, against: Iterable[Objection]) -> Confidence:
    """Return the rule's confidence, lowered to what every objection allows."""
    return min((confidence, *(objection.at_most for objection in against)), key=_RANK.index)
