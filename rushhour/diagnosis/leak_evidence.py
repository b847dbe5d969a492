"""The evidence for leaks, as a reader can check it (pure)."""

from rushhour.diagnosis.findings import Evidence
from rushhour.diagnosis.leaks import NOT_REUSED, LeakSignals
from rushhour.diagnosis.sites import at
from rushhour.diagnosis.units import noun, unit_of_endpoint


def leak_evidence(leak: LeakSignals) -> tuple[Evidence, ...]:
    """Return the evidence that both kinds of leak share."""
    found = [
        Evidence(
            f"connections out although their {_unit(leak)} has ended",
            leak.leaked,
            source="pool.jsonl checkout: request_ended_s set, returned_s null",
            meaning=f"of {leak.capacity}, when the watch ended" if leak.capacity else "when the watch ended",
        ),
        Evidence("taken at", at(leak.site), source="pool.jsonl checkout.site", meaning=leak.endpoint or ""),
        Evidence("oldest of them", round(leak.oldest_s, 1), "s", "pool.jsonl checkout.taken_s"),
        Evidence(
            "threads that hold them",
            leak.threads,
            source="pool.jsonl checkout.thread",
            meaning=f"at most {leak.most_per_thread} each, per call site",
        ),
    ]
    for count, words, lost in (
        (leak.owner_idle, "of them, kept by threads that wait for their next job", "owner-idle"),
        (leak.owner_ended, "of them, taken by threads, greenlets or tasks that have ended", "owner-ended"),
    ):
        if count:
            found.append(Evidence(words, count, source=f"pool.jsonl checkout.lost {lost}"))
    if leak.scoped:
        found.append(
            Evidence(
                "of them, those whose session a thread-local registry keeps",
                leak.scoped,
                source="pool.jsonl checkout.scoped",
                meaning="made by `scoped_session`",
            )
        )
    if leak.asked_again:
        found.append(
            Evidence(
                "time-outs of threads that kept one from an earlier job",
                leak.asked_again,
                source="pool.jsonl timeout.kept",
                meaning="a session kept per thread would have been used again",
            )
        )
    if leak.checkouts is not None:
        found.append(
            Evidence(
                f"check-outs there that outlived their {_unit(leak)}",
                f"{leak.outlived} of {leak.checkouts}",
                source="pool.jsonl checkout, site.checkouts",
                meaning="" if leak.outlived >= leak.checkouts else "the others came back in time",
            )
        )
    if leak.answered_per_checkout is not None:
        found.append(
            Evidence(
                "requests answered per check-out, since the load began",
                round(leak.answered_per_checkout, 2),
                source="requests.jsonl count / pool.jsonl site.checkouts",
                meaning=_what_the_ratio_says(leak),
            )
        )
    if leak.answered_while_full is not None:
        found.append(
            Evidence(
                "requests answered after the whole pool had leaked",
                leak.answered_while_full,
                source="requests.jsonl outcome ok, pool.jsonl sample.leaked",
                meaning="only threads that keep a connection can answer then",
            )
        )
    if leak.collected:
        found.append(
            Evidence(
                "brought back by garbage collection alone",
                leak.collected,
                source="pool.jsonl checkout.returned_by",
                meaning="nothing kept it: it was dropped, not closed",
            )
        )
    if leak.unreachable is not None:
        found.append(
            Evidence(
                "unreachable after the load: a collection brought them back",
                leak.unreachable,
                source="pool.jsonl collected, checkout.returned_by gc after the drain",
                meaning=f"retained, something still refers to them: {leak.retained}",
            )
        )
    return tuple(found)


def _unit(leak: LeakSignals) -> str:
    return "unit of work" if leak.lost else noun(unit_of_endpoint(leak.endpoint))


def _what_the_ratio_says(leak: LeakSignals) -> str:
    """Explain requests answered per check-out; some requests may never reach the line."""
    many = (leak.answered_per_checkout or 0.0) > NOT_REUSED
    if leak.spans_requests is None:
        return "too few to tell whether later requests use what an earlier one took"
    if leak.spans_requests:
        return "later requests use what an earlier one took" if many else "the pool's other answers say more"
    if many:
        return "most answers of the endpoint took no connection at this line: it says nothing of later use"
    return "each request took a connection of its own, or used one that came back"
