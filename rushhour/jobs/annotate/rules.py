"""What each rule of an annotation means: a sentence, and a page of help."""

from dataclasses import dataclass
from typing import Final

from rushhour.jobs.check.summary import FIX
from rushhour.report.cause_pages import page_of

NOT_MET: Final = "expectation-not-met"
UNKNOWN: Final = "unknown-result"
NOT_RETURNED: Final = "connection-not-returned"
HELD_LONG: Final = "connection-held-long"
TIMED_OUT: Final = "pool-timeout"

_OWN: Final = {
    NOT_MET: (
        "The run did not meet the expectation of its scenario.",
        (
            "A threshold was violated, or what the scenario expects did not come. The run's report.html says "
            "which; no line of the service's source is to blame as far as the run shows."
        ),
    ),
    UNKNOWN: (
        "The result is unknown.",
        (
            "The run was disturbed or cut short, or data is missing, so it says nothing about the release. "
            "Read the reasons, remove them, and run it again."
        ),
    ),
    NOT_RETURNED: (
        "A connection did not come back to its pool.",
        (
            "The line took a connection, and its request, job or test ended while the connection was still "
            f"checked out, or only garbage collection brought it back. {FIX}"
        ),
    ),
    HELD_LONG: (
        "A connection was held for long.",
        (
            "While the line's connection is out, others wait for one. Return it before work that does not "
            "need it: calls of other services, streaming of a response, long computations."
        ),
    ),
    TIMED_OUT: (
        "A check-out waited for a connection until the pool's time-out.",
        (
            "All connections of the pool were out. The line is where the check-out failed, not where the "
            "others were held: look for connections that did not come back or were held for long."
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with its explanation; `page` is Markdown."""

    id: str
    summary: str
    page: str


def rule(name: str) -> Rule:
    """Return a rule by its name: a cause of the diagnosis, or one of this module."""
    if name in _OWN:
        summary, page = _OWN[name]
        return Rule(name, summary, f"# {name}\n\n{summary}\n\n{page}\n")
    page = page_of(name) or f"# {name}\n"
    paragraphs = [part for part in page.split("\n\n") if not part.startswith("#")]
    summary = " ".join(paragraphs[0].split()) if paragraphs else name
    return Rule(name, summary, page)
