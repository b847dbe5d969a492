"""The messages that Locust's workers send to their master each second (pure), packed for msgpack."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any, Final

from rushhour.rundir.facts import GeneratorSample, Outcome, RequestCount

FACTS: Final = "rushhour_facts"  # the messages' types: worker to master
HELLO: Final = "rushhour_hello"  # worker to master: the worker listens from now on
JOIN: Final = "rushhour_join"  # the master's answer
FIT: Final = "rushhour_fit"  # the worker's reply: it takes part
UNFIT: Final = "rushhour_unfit"  # the worker's reply if it cannot take part


@dataclass(frozen=True, slots=True)
class Join:
    """The data that a worker needs to count requests by the master's clock.

    `now_s` is the master's clock when it sent the message: the wall clock of another machine may differ by
    seconds, while a message takes milliseconds. `digest` covers the locustfile and this package. `customers`
    are those that each worker will have; 0 if that is not known before, as with open arrivals.
    """

    now_s: float
    digest: str
    customers: int = 0


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that no longer answers; `at_s` and `users` (its customers) if known."""

    worker: str
    at_s: float | None = None  # since the run's anchor
    users: int | None = None

    def __str__(self) -> str:
        seen = "" if self.at_s is None else f" {self.at_s:.0f} s into the run"
        carried = "" if self.users is None else f", {self.users:,} customers"
        return f"Locust worker {self.worker} was lost{seen}{carried} and all that it had not reported"


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that the locustfile raised `count` times at one line since the last report."""

    t_s: float
    worker: str
    error: str  # the type's name: "KeyError"
    message: str  # of the first occurrence
    where: str  # "customers.py:12 in list_items"
    count: int


@dataclass(frozen=True, slots=True)
class Report:
    """The facts that a worker reports; `final` marks its last report, after its customers stopped."""

    rows: tuple[RequestCount, ...] = ()
    samples: tuple[GeneratorSample, ...] = ()
    final: bool = False
    raised: tuple[Raised, ...] = ()


def pack(report: Report) -> dict[str, Any]:
    """Convert a report to plain data for a message of Locust."""
    return {
        "rows": [_plain(row) for row in report.rows],
        "samples": [_plain(sample) for sample in report.samples],
        "final": report.final,
        "raised": [list(astuple(error)) for error in report.raised],
    }


def unpack(data: dict[str, Any], *, rows: bool = True) -> Report:
    """Convert the data of a message to a report, perhaps without its rows.

    Raises TypeError, ValueError or KeyError if it is none.
    """
    return Report(
        rows=tuple(
            RequestCount(t_s, endpoint, Outcome(outcome), count, latency, worker, status, latency_due)
            for t_s, endpoint, outcome, count, latency, worker, status, latency_due in (
                data["rows"] if rows else ()
            )
        ),
        samples=tuple(GeneratorSample(*values) for values in data["samples"]),
        final=bool(data["final"]),
        raised=tuple(Raised(*values) for values in data["raised"]),
    )


def _plain(fact: RequestCount | GeneratorSample) -> list[Any]:
    return [str(value) if isinstance(value, Outcome) else value for value in astuple(fact)]


def run_problem(
    *, completed: bool, recorded: int, lost: Iterable[Lost] = (), faults: Iterable[str] = ()
) -> str | None:
    """Return why a run of Locust is invalid, or None if it ended properly and was recorded completely."""
    reasons = list(faults)
    if not completed:
        reasons.append("the load did not run to its end")
    if not recorded:
        reasons.append("no request was recorded")
    reasons += [str(reason) for reason in lost]
    return "; ".join(reasons) or None
