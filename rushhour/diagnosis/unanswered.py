"""Finds requests that wait for a server whose backends wait for them (pure)."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rushhour.rundir import History
from rushhour.rundir import facts as f

UNANSWERED_AFTER_S: Final = 0.5  # on both sides: neither moves
MOST: Final = 0.5  # of those in the driver
AROUND_S: Final = 1  # looks and samples beside a sample count as well: alone they are too few

_Key = tuple[int, str]  # a process and its pool


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Requests at one moment that wait for a server, which waits for them."""

    t_s: float
    count: int
    pids: frozenset[int]  # the processes of these requests


@dataclass(slots=True)
class _Counts:
    """Connections of a pool at a sample of its server."""

    out: int = 0
    active: int = 0  # their backends ran a query
    waiting: int = 0  # they, and their backends, have waited for a while


def unanswered(
    history: History,
    server: str,
    samples: Sequence[f.ServerSample],
) -> list[Unanswered]:
    """Count, at each sample of a server, the requests that wait for it while their backends idle or are gone.

    Not those of a pool of which most holders in the driver have a backend at work: the others have left the
    driver by then.
    """
    samples = [sample for sample in samples if sample.error is None]
    counts = _counted(history, server, samples)
    looks: Counter[tuple[_Key, int]] = Counter()
    driver: Counter[tuple[_Key, int]] = Counter()
    for look in history.doing:
        key = (look.pid, look.pool), int(look.t_s)
        driver[key] += look.driver
        looks[key] += look.driver + look.queue + look.behind + look.lock + look.other_pool + look.elsewhere
        looks[key] += look.streaming + (look.sending or 0)

    def served(key: _Key, number: int) -> bool:
        around = counts[key][max(0, number - 1) : number + 2]
        second = int(samples[number].t_s)
        seconds = [(key, second + step) for step in range(-AROUND_S, AROUND_S + 1)]
        seen = sum(looks[one] for one in seconds)
        out = sum(count.out for count in around)
        if not seen or not out:
            return False
        in_driver = sum(driver[one] for one in seconds) / seen
        driven, active = in_driver * out, sum(count.active for count in around)
        # Those who wait may be the very ones that are in the driver while their backends are not at work.
        return active > MOST * driven and driven - active < MOST * sum(count.waiting for count in around)

    found = []
    for number, sample in enumerate(samples):
        waiting = {key: each[number].waiting for key, each in counts.items() if each[number].waiting}
        waiting = {key: count for key, count in waiting.items() if not served(key, number)}
        pids = frozenset(pid for pid, _ in waiting)
        found.append(Unanswered(sample.t_s, sum(waiting.values()), pids))
    return found


def _counted(history: History, server: str, samples: Sequence[f.ServerSample]) -> dict[_Key, list[_Counts]]:
    moments = [sample.t_s for sample in samples]
    backends = [{backend.pid: backend for backend in sample.backends} for sample in samples]
    known = {pid for each in backends for pid in each}  # a pooler makes up its own
    counts: defaultdict[_Key, list[_Counts]] = defaultdict(lambda: [_Counts() for _ in samples])
    for out in history.checkouts:
        if f.server_of(out.pool) != server or out.server_pid not in known:
            continue
        ends = [moment for moment in (out.request_ended_s, out.returned_s) if moment is not None]
        first = bisect_left(moments, out.taken_s)
        for number in range(first, bisect_left(moments, min(ends, default=float("inf")))):
            backend = backends[number].get(out.server_pid)
            count = counts[out.pid, out.pool][number]
            count.out += 1
            count.active += backend is not None and backend.state == "active"
            count.waiting += _waits(out, backend, moments[number])
    return counts


def _waits(out: f.CheckOut, backend: f.Backend | None, t_s: float) -> bool:
    rests = backend is None or (backend.state.startswith("idle") and backend.state_s >= UNANSWERED_AFTER_S)
    waits = out.in_driver > out.in_queue + out.elsewhere and t_s >= out.taken_s + UNANSWERED_AFTER_S
    return waits and rests
