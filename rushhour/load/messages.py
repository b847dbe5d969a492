"""What Locust's workers tell their master each second (pure): facts as plain lists, for msgpack."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any, Final

from rushhour.history.facts import GeneratorSample, Outcome, RequestCount

FACTS: Final = "rushhour_facts"  # the message's type


@dataclass(frozen=True, slots=True)
class Report:
    """Facts of one worker; `final` when its customers have stopped and nothing comes after it."""

    rows: tuple[RequestCount, ...] = ()
    samples: tuple[GeneratorSample, ...] = ()
    final: bool = False


def pack(report: Report) -> dict[str, Any]:
    """A report as Locust's messages can carry it."""
    return {
        "rows": [_plain(row) for row in report.rows],
        "samples": [_plain(sample) for sample in report.samples],
        "final": report.final,
    }


def unpack(data: dict[str, Any]) -> Report:
    """The report of a message; TypeError or KeyError when it is none."""
    return Report(
        rows=tuple(
            RequestCount(t_s, endpoint, Outcome(outcome), count, latency, worker)
            for t_s, endpoint, outcome, count, latency, worker in data["rows"]
        ),
        samples=tuple(GeneratorSample(*values) for values in data["samples"]),
        final=bool(data["final"]),
    )


def _plain(fact: RequestCount | GeneratorSample) -> list[Any]:
    return [str(value) if isinstance(value, Outcome) else value for value in astuple(fact)]


def run_problem(
    *, completed: bool, recorded: int, lost: Iterable[str] = (), faults: Iterable[str] = ()
) -> str | None:
    """Why a run of Locust proves nothing, in words; None when it went to its end and was recorded whole."""
    reasons = list(faults)
    if not completed:
        reasons.append("the load did not run to its end")
    if not recorded:
        reasons.append("no request was recorded")
    reasons += [f"Locust worker {worker} was lost with what it had not reported" for worker in sorted(lost)]
    return "; ".join(reasons) or None
