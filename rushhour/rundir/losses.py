"""Compares a run's files with its manifests and each other, to find lost or changed rows (pure)."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import floor
from typing import Final

from rushhour.rundir import facts as f
from rushhour.rundir.manifest import Manifest, Rows

EVERYTHING: Final = "manifest"  # the file name of a loss that affects the whole run
GAP_S: Final = 5.0
GAP_SHARE: Final = 0.1  # share of the load: an observer may be delayed on a busy machine
HOLE_S: Final = 2.0  # a generator that stood still for longer has not kept its schedule either
MOST_UNENDED: Final = 0.1  # share of the requests sent that may have no row though no row was lost
SHARE: Final = 0.01  # tolerated difference of requests or rows when two counts are compared
FEW: Final = 3
LATE_S: Final = 2.0
AROUND_S: Final = 600.0  # before and after a run in which its observers may have seen something
NOTIFICATIONS: Final = "notifications.jsonl"  # written by another program, and listed when the run ends

# How a run without manifests was checked, in words.
CHECKED: Final = (
    "requests against the generator's own count, rows that stand twice, seconds without a row, "
    "and rows beyond the load"
)


def find_losses(
    history: f.History,
    seen: Mapping[str, Rows],
    manifests: Sequence[Manifest],
    digests: Mapping[str, str | None],
) -> tuple[f.Loss, ...]:
    """Return the differences between a run's files and what was written.

    `seen` counts the rows in the files now; `digests` are those of files that were written atomically.
    """
    found: list[f.Loss] = []
    whole: set[str] = set()
    if manifests:
        for name, rows in seen.items():
            if name == NOTIFICATIONS and not _lists_notifications(manifests):
                continue
            losses = [*_against_manifests(name, rows, manifests, complete=history.complete)]
            found += losses
            if not losses and all(manifest.closed for manifest in manifests):
                whole.add(name)
        found += _changed_files(manifests, digests)
        found += [loss for loss in _other_totals(history, manifests) if loss.file in whole]
    elif _had_manifest(history):
        what = "every manifest is gone, and this run was made with them: nothing says what its files held"
        found.append(f.Loss(EVERYTHING, what, foreign=True))
    found += _two_runs(history)
    known = {loss.file for loss in found}
    found += [loss for loss in _odd_rows(history, manifests) if loss.file not in known | whole]
    found += [loss for loss in _gaps(history) if loss.file not in known]
    return tuple(found)


def _had_manifest(history: f.History) -> bool:
    anchor = history.event(f.ANCHOR)
    return anchor is not None and bool(anchor.detail.get("manifest"))


def _two_runs(history: f.History) -> Iterator[f.Loss]:
    """Yield the events where those of several runs are mixed, though the manifests of all are there."""
    for name in (f.LOAD_STARTED, f.LOAD_ENDED, f.RUN_ENDED):
        many = sum(event.name == name for event in history.events)
        if many > 1:
            yield f.Loss("events.jsonl", f"holds {name} {many} times: the rows of several runs", foreign=True)
            return


def _lists_notifications(manifests: Sequence[Manifest]) -> bool:
    """Return whether the manifests list notifications; those of older or interrupted runs do not."""
    return any(
        NOTIFICATIONS in manifest.files or (manifest.closed and manifest.whole) for manifest in manifests
    )


def _changed_files(manifests: Sequence[Manifest], digests: Mapping[str, str | None]) -> Iterator[f.Loss]:
    """Yield files written atomically that are missing or changed, or that no manifest lists."""
    for name, digest in digests.items():
        written = {manifest.whole[name] for manifest in manifests if name in manifest.whole}
        if digest is None and written:
            yield f.Loss(name, "is gone, and was written", foreign=True)
        elif digest is not None and not written and all(manifest.closed for manifest in manifests):
            yield f.Loss(name, "is there, and no manifest names it", foreign=True)
        elif written and digest not in written:
            yield f.Loss(name, "is not as it was written: its digest differs", foreign=True)


def _other_totals(history: f.History, manifests: Sequence[Manifest]) -> Iterator[f.Loss]:
    """Yield files whose rows are those of the manifests, and do not add up to what was counted beside them.

    So rows that were taken out of a file and out of its manifest's entry are noticed too.
    """
    ended, counted = sum(row.count for row in history.requests), sum(part.requests for part in manifests)
    sent, started = sum(row.started for row in history.generator), sum(part.started for part in manifests)
    if counted and ended != counted:
        what = f"its rows hold {ended:,} requests, and {counted:,} were counted as they were written"
        yield f.Loss("requests.jsonl", what, foreign=True)
    elif sent and sent - ended > _in_flight(history) + MOST_UNENDED * sent:
        what = f"its rows hold {ended:,} requests, and the generator sent {sent:,}"
        yield f.Loss("requests.jsonl", what)
    if started and sent != started:
        what = f"its rows hold {sent:,} requests sent, and {started:,} were counted as they were written"
        yield f.Loss("generator.jsonl", what, foreign=True)


def _against_manifests(
    name: str, rows: Rows, manifests: Sequence[Manifest], *, complete: bool
) -> Iterator[f.Loss]:
    writers = [manifest for manifest in manifests if name in manifest.files]
    if not writers:
        if rows.rows:
            yield f.Loss(name, f"{rows.rows:,} rows that no manifest names", (1, rows.rows), foreign=True)
        return
    parts = [manifest.files[name] for manifest in writers]
    expected = sum(part.rows for part in parts)
    first = min((part.first_t_s for part in parts if part.first_t_s is not None), default=None)
    last = max((part.last_t_s for part in parts if part.last_t_s is not None), default=None)
    closed = all(manifest.closed for manifest in writers)
    if rows.rows < expected:
        yield _lost(name, rows, expected, (first, last))
    elif rows.rows > expected and closed:
        what = f"{rows.rows:,} rows, and only {expected:,} were written: {rows.rows - expected:,} too many"
        yield f.Loss(name, what, (1, rows.rows), rows.first_t_s, rows.last_t_s, foreign=True)
    elif rows.rows == expected and rows.digest != sum(part.digest for part in parts) % (1 << 64):
        what = f"its {expected:,} rows are not those that were written: their digest differs"
        yield f.Loss(name, what, (1, rows.rows), rows.first_t_s, rows.last_t_s, foreign=True)
    elif complete and not closed:
        what = f"its writer did not close its manifest: what came after row {expected:,} is not known"
        yield f.Loss(name, what, (expected + 1, max(rows.rows, expected + 1)), last, None)


def _lost(name: str, rows: Rows, expected: int, written: tuple[float | None, float | None]) -> f.Loss:
    """Describe missing rows: at the start or end of the file, or else within it."""
    first, last = written
    of = f"{rows.rows:,} of the {expected:,} rows that were written"
    if not rows.rows or rows.last_t_s is None or rows.first_t_s is None:
        return f.Loss(name, f"holds {of}", (1, expected), first, last)
    if last is not None and rows.last_t_s < last:
        what = f"holds {of}; it ends at {rows.last_t_s:.1f} s, and went on to {last:.1f} s"
        return f.Loss(name, what, (rows.rows + 1, expected), rows.last_t_s, last)
    if first is not None and rows.first_t_s > first:
        what = f"holds {of}; it begins at {rows.first_t_s:.1f} s, and began at {first:.1f} s"
        return f.Loss(name, what, (1, expected - rows.rows), first, rows.first_t_s)
    return f.Loss(name, f"holds {of}", None, first, last)


def _odd_rows(history: f.History, manifests: Sequence[Manifest]) -> Iterator[f.Loss]:
    """Yield implausible rows of files that no manifest covers."""
    yield from _twice("requests.jsonl", history.requests)
    yield from _twice("generator.jsonl", history.generator)
    yield from _twice("pool.jsonl", (*history.pools, *history.pool_timeouts))
    if (load := _load_of(history)) is not None:
        yield from _beyond(history, load[0])
        yield from _unended(history, manifests, *load)


def _gaps(history: f.History) -> Iterator[f.Loss]:
    """Yield periods without samples, even if the manifest says that none were written."""
    if (load := _load_of(history)) is not None:
        gaps = [*_gap("generator.jsonl", [sample.t_s for sample in history.generator], *load)]
        for loss in gaps or _holes(history):
            yield loss
            yield from _also_of_requests(history, loss)
        yield from _gap("host.jsonl", [sample.t_s for sample in history.host], *load)


def _holes(history: f.History) -> Iterator[f.Loss]:
    """Yield the longest time without a row of one worker: each writes a row every second."""
    of_workers: dict[str, list[float]] = {}
    for sample in history.generator:
        of_workers.setdefault(sample.worker, []).append(sample.t_s)
    found = [
        (after - before, before, worker)
        for worker, times_s in of_workers.items()
        for before, after in pairwise(sorted(times_s))
    ]
    longest_s, at_s, worker = max(found, default=(0.0, 0.0, ""))
    if longest_s > HOLE_S:
        what = (
            f"worker {worker} has no row for {longest_s:.1f} s, from {at_s:.1f} s on, and writes every second"
        )
        yield f.Loss("generator.jsonl", what, None, at_s, at_s + longest_s)


def _also_of_requests(history: f.History, loss: f.Loss) -> Iterator[f.Loss]:
    """Yield the requests of a time of which the generator has no rows either."""
    from_s, to_s = loss.from_s, loss.to_s
    if from_s is None or to_s is None or any(from_s < row.t_s < floor(to_s) for row in history.requests):
        return
    what = f"no row from {from_s:.1f} s to {to_s:.1f} s, and generator.jsonl does not say that none was sent"
    yield f.Loss("requests.jsonl", what, None, from_s, to_s)


def _load_of(history: f.History) -> tuple[float, float] | None:
    """Return start and end of the load; None for a run that was cut short, which is unknown anyway."""
    started_s, ended_s = history.time_of(f.LOAD_STARTED), history.time_of(f.LOAD_ENDED)
    if started_s is None or ended_s is None or not history.complete:
        return None
    return started_s, ended_s


def _twice(name: str, rows: Sequence[Hashable]) -> Iterator[f.Loss]:
    again = len(rows) - len(set(rows))
    if again > max(FEW, SHARE * len(rows)):
        yield f.Loss(name, f"{again:,} of its {len(rows):,} rows stand there twice", foreign=True)


def _beyond(history: f.History, started_s: float) -> Iterator[f.Loss]:
    """Yield rows from before the load or after the run; observers see the time around it, too."""
    end_s = max(event.t_s for event in history.events)
    of_pools = [fact.t_s for facts in (history.pools, history.pool_timeouts) for fact in facts]
    of_pools += [fact.t_s for facts in (history.sites, history.times) for fact in facts]
    of_pools += [fact.t_s for facts in (history.doing, history.loops) for fact in facts]
    of_load, around = (floor(started_s) - 1, end_s + LATE_S), (-AROUND_S, end_s + AROUND_S)
    for name, (first_s, last_s), times_s in (
        ("requests.jsonl", of_load, [row.t_s for row in history.requests]),
        ("generator.jsonl", of_load, [row.t_s for row in history.generator]),
        ("pool.jsonl", around, of_pools),
        ("postgres.jsonl", around, [sample.t_s for sample in history.servers]),
        ("host.jsonl", around, [sample.t_s for sample in history.host]),
    ):
        outside = [t_s for t_s in times_s if not first_s <= t_s <= last_s]
        if outside:
            what = (
                f"{len(outside):,} rows from {min(outside)} s to {max(outside)} s, where the load began at "
                f"{started_s:.1f} s and the run ended at {end_s:.1f} s"
            )
            yield f.Loss(name, what, None, min(outside), max(outside), foreign=True)


def _gap(name: str, times_s: Iterable[float], from_s: float, to_s: float) -> Iterator[f.Loss]:
    inside = sorted(t_s for t_s in times_s if from_s <= t_s <= to_s)
    bound_s = max(GAP_S, GAP_SHARE * (to_s - from_s))
    if not inside:
        if to_s - from_s > bound_s:
            yield f.Loss(name, "holds no row of the load", None, from_s, to_s)
        return
    marks = [from_s, *inside, to_s]
    longest_s, at_s = max((after - before, before) for before, after in pairwise(marks))
    if longest_s > bound_s:
        what = f"no row for {longest_s:.1f} s, from {at_s:.1f} s on (bound {bound_s:g} s)"
        yield f.Loss(name, what, None, at_s, at_s + longest_s)


def _in_flight(history: f.History) -> int:
    """Return how many requests may have ended with their customers: the most who were there."""
    users = max((sample.users for sample in history.generator), default=0)
    return users * max(1, len({sample.worker for sample in history.generator}))


def _unended(
    history: f.History, manifests: Sequence[Manifest], started_s: float, ended_s: float
) -> Iterator[f.Loss]:
    """Yield requests that were sent and have no row, beyond those that ended with their customers."""
    started = sum(manifest.started for manifest in manifests) or sum(
        sample.started for sample in history.generator
    )
    ended = sum(row.count for row in history.requests)
    missing = started - ended
    if not started or missing <= _in_flight(history) + SHARE * started:
        return
    seconds = sorted({row.t_s for row in history.requests})
    marks = [floor(started_s), *seconds, floor(ended_s)]
    longest_s, at_s = max((after - before, before) for before, after in pairwise(marks))
    what = (
        f"holds {ended:,} requests, and the generator counts {started:,} that it sent; the longest time "
        f"without a row is {longest_s} s, from {at_s} s on"
    )
    yield f.Loss("requests.jsonl", what, None, at_s, at_s + longest_s)
