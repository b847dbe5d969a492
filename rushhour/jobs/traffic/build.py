"""Makes the model from a stream of requests."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final

from rushhour.errors import UsageError
from rushhour.jobs.init.routes import Route
from rushhour.jobs.traffic.arrivals import ArrivalFold, Arrivals
from rushhour.jobs.traffic.endpoints import Leaf, PathTree
from rushhour.jobs.traffic.ids import Skew
from rushhour.jobs.traffic.merging import IsUser, Templates, templates
from rushhour.jobs.traffic.model import (
    VERSION,
    EndpointModel,
    Note,
    Param,
    Source,
    TrafficModel,
    expected_visits,
    mean_session_s,
)
from rushhour.jobs.traffic.notes import COARSE_S, left_out_notes, limits
from rushhour.jobs.traffic.pauses import After, Pauses, after, seconds_of
from rushhour.jobs.traffic.record import Logged, ReadingReport
from rushhour.jobs.traffic.sessions import AT_ONCE, AT_ONCE_S, GAP_S, MOST_OPEN, THINK, Moves, SessionFold

_LEAST_SHARE: Final = 50  # of those whom a log shows at its busiest: below, they were there before it
_LASTING: Final = 0.25  # of the log
_MOST_BEYOND: Final = 3.0  # times the number present that a log shows: a short log cuts sessions at both ends


@dataclass(frozen=True, slots=True)
class Asked:
    """How a log is looked at."""

    routes: Sequence[Route] = ()
    gap_s: float = GAP_S
    at_once_s: float = AT_ONCE_S
    since: float | None = None  # what is earlier only makes sessions known
    until: float | None = None
    zone: tzinfo = UTC  # of the day's curve
    most_open: int = MOST_OPEN


class Fold:
    """Everything that is counted while the log is read."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.tree = PathTree(asked.routes)
        self.arrivals = ArrivalFold(asked.zone, asked.since)
        self.sessions = SessionFold(
            self.arrivals, gap_s=asked.gap_s, at_once_s=asked.at_once_s, most_open=asked.most_open
        )
        self.seconds: dict[int, Pauses] = {}
        self.statuses: Counter[int] = Counter()  # by hundreds
        self.requests: Counter[int] = Counter()  # in the part looked at, by provisional endpoint
        self.durations = 0
        self.last_t = -math.inf

    def take(self, logged: Iterable[Logged]) -> None:
        """Count requests, in about the order of time."""
        asked, tree = self.asked, self.tree
        since = -math.inf if asked.since is None else asked.since
        until = math.inf if asked.until is None else asked.until
        for request in logged:
            if request.t >= until:
                continue
            found = tree.leaf_of(request)
            if found is None:
                continue
            leaf, values = found
            counts = request.t >= since
            self.last_t = max(self.last_t, request.t)
            if counts:
                self._count(request, leaf)
            self.sessions.add(request, leaf, values, counts=counts)
        self.sessions.finish(self.last_t if asked.until is None else min(until, self.last_t))
        self.requests -= self.sessions.by_clock.requests

    def _count(self, one: Logged, leaf: Leaf) -> None:
        self.arrivals.request(one.t)
        self.requests[leaf.number] += 1
        self.statuses[one.status // 100] += 1
        if one.seconds is not None:
            self.durations += 1
            seconds = self.seconds.get(leaf.number)
            if seconds is None:
                seconds = self.seconds[leaf.number] = Pauses()
            seconds.add(one.seconds)


def build(fold: Fold, report: ReadingReport, is_user: IsUser = lambda _: False) -> TrafficModel:
    """The model of what was counted; `is_user` knows the users of the log.

    Raises UsageError where nothing is left to model.
    """
    arrivals = fold.arrivals.arrivals()
    final = templates(fold.tree, is_user)
    if arrivals is None:
        apart = "; ".join(
            f"{note.requests:,} {note.what}" for note in left_out_notes(fold.tree) if note.requests
        )
        raise UsageError(
            [f"no request is left to model, of {report.requests:,} in the log ({apart or 'none in time'})"]
        )
    return _Builder(fold, report, arrivals, final).model()


class _Builder:
    def __init__(self, fold: Fold, report: ReadingReport, arrivals: Arrivals, final: Templates) -> None:
        self._fold, self._report, self._arrivals, self._final = fold, report, arrivals, final
        self._moves = _final_moves(fold.sessions.moves, final.of_leaf)
        self._few = len(fold.sessions.visitors) < 2

    def model(self) -> TrafficModel:
        fold, report = self._fold, self._report
        endpoints = self._endpoints()
        thinks = any(endpoint.after and endpoint.after.think_s for endpoint in endpoints)
        walks = not self._few and thinks and any(endpoint.begin for endpoint in endpoints)
        visits = expected_visits(endpoints) if walks else {}
        session_s = mean_session_s(endpoints, visits) if walks else None
        rate = self._arrivals.peak.sessions_per_minute
        users = rate / 60 * session_s if rate is not None and session_s is not None else None
        seen = self._arrivals.peak.concurrency
        lasting = (session_s or 0.0) > _LASTING * (self._arrivals.last_t - self._arrivals.first_t)
        endless = None
        if (
            users is not None
            and seen is not None
            and (users > _MOST_BEYOND * seen + 3 or (lasting and users < seen / _LEAST_SHARE))
        ):
            endless = (
                f"by their arrivals and ends {users:,.0f} visitors would be present, "
                f"and the log shows {seen:,.0f}"
            )
        if endless is not None:  # some visitors never leave, so that the log shows no length of sessions
            walks, visits, session_s, users = False, {}, None, None
        return TrafficModel(
            version=VERSION,
            source=Source(
                formats=tuple(format_.name for format_ in report.formats),
                lines=report.lines,
                requests=report.requests,
                skipped={skip.reason: skip.lines for skip in report.skipped},
                visitors_by=report.visitors_by,
                gap_s=fold.asked.gap_s,
                at_once_s=fold.asked.at_once_s,
                resolution_s=report.resolution_s,
                durations=fold.durations * 2 > self._arrivals.requests,
            ),
            arrivals=self._arrivals,
            endpoints=endpoints,
            parameters=self._parameters(),
            merges=self._final.merges,
            left_out=(*left_out_notes(fold.tree), *self._limits(endpoints, walks=walks, endless=endless)),
            session_s=session_s,
            session_requests=sum(visits.values()) if walks else None,
            users=users,
            sampled=fold.sessions.share,
        )

    def _limits(
        self, endpoints: tuple[EndpointModel, ...], *, walks: bool, endless: str | None
    ) -> Iterable[Note]:
        return limits(
            self._arrivals,
            self._report,
            endpoints,
            visitors=len(self._fold.sessions.visitors),
            walks=walks,
            endless=endless,
            by_clock=self._fold.sessions.by_clock,
            failed_only=set(self._fold.statuses) == {5},
            sampled=self._fold.sessions.share,
            routes_known=self._fold.tree.known,
            full=self._fold.tree.full,
            uncounted=self._fold.sessions.moves.uncounted,
        )

    def _endpoints(self) -> tuple[EndpointModel, ...]:
        requests, errors, queries = Counter[int](), Counter[int](), Counter[int]()
        seconds: dict[int, Pauses] = {}
        for leaf in self._fold.tree.leaves:
            at = self._final.of_leaf.get(leaf.number)
            if at is None:
                continue
            requests[at] += self._fold.requests[leaf.number]
            if leaf.number in self._fold.seconds:
                seconds.setdefault(at, Pauses()).merge(self._fold.seconds[leaf.number])
        seen: set[int] = set()
        for leaf in self._fold.tree.leaves:  # what was grafted has been added to the leaf it went to
            at = self._final.of_leaf.get(leaf.number)
            if at is None or leaf.node.leaves.get(leaf.method) is not leaf:
                continue
            seen.add(at)
            errors[at] += leaf.errors
            queries[at] += leaf.queries
        total = sum(requests.values())
        found = [
            self._endpoint(
                at,
                requests=count,
                total=total,
                errors=errors[at] / max(self._all(at), 1),
                queries=queries[at] / max(self._all(at), 1),
                seconds=seconds.get(at, Pauses()),
            )
            for at, count in requests.items()
            if count
        ]
        return tuple(sorted(found, key=lambda one: (-one.requests, one.name)))

    def _all(self, at: int) -> int:
        """Requests of an endpoint in the whole log, also before the part looked at."""
        return sum(
            leaf.requests
            for leaf in self._fold.tree.leaves
            if self._final.of_leaf.get(leaf.number) == at and leaf.node.leaves.get(leaf.method) is leaf
        )

    def _endpoint(
        self,
        at: int,
        *,
        requests: int,
        total: int,
        errors: float,
        queries: float,
        seconds: Pauses,
    ) -> EndpointModel:
        endpoint, moves = self._final.endpoints[at], self._moves
        at_once = moves.pauses.get((at, AT_ONCE), Pauses())
        think = moves.pauses.get((at, THINK), Pauses())
        if self._report.resolution_s >= COARSE_S:
            think = think.spread(self._report.resolution_s / 2)
        unfollowed = moves.unfollowed.get(at, Pauses())
        known = at_once.total + think.total + unfollowed.total
        follows: After | None = after(at_once, think, unfollowed) if known else None
        begun = sum(moves.begin.values())
        return EndpointModel(
            name=endpoint.name,
            method=endpoint.method,
            template=endpoint.template,
            form=endpoint.form,
            parameters=tuple(parameter.name for parameter in endpoint.parameters),
            requests=requests,
            share=requests / total,
            errors=errors,
            queries=queries,
            begin=moves.begin.get(at, 0) / begun if begun else 0.0,
            p50_s=seconds.quantile(0.5),
            p95_s=seconds.quantile(0.95),
            mean_s=_mean(seconds),
            after=follows,
            at_once=self._shares(at, AT_ONCE),
            think=self._shares(at, THINK),
            parallel=self._report.resolution_s < COARSE_S
            and moves.overlaps.get(at, 0) * 2 > at_once.total > 0,
        )

    def _shares(self, at: int, kind: int) -> dict[str, float]:
        counts = {to: count for (start, of, to), count in self._moves.to.items() if (start, of) == (at, kind)}
        total = sum(counts.values())
        ordered = sorted(counts.items(), key=lambda item: (-item[1], self._final.endpoints[item[0]].name))
        return {self._final.endpoints[to].name: count / total for to, count in ordered}

    def _parameters(self) -> tuple[Param, ...]:
        found: dict[str, Param] = {}
        for endpoint in self._final.endpoints:
            for parameter in endpoint.parameters:
                node = parameter.node
                seen = node.repeated + node.changed
                kept = node.repeated / seen if seen else None
                skew = node.ids.skew() if node.ids else None
                earlier = found.get(parameter.name)
                if earlier is None or _asked(skew) > _asked(earlier.skew):
                    found[parameter.name] = Param(parameter.name, parameter.kind, skew, kept)
        return tuple(found[name] for name in sorted(found))


def _asked(skew: Skew | None) -> int:
    return skew.distinct if skew else 0


def _mean(seconds: Pauses) -> float:
    total = seconds.total
    return sum(seconds_of(at) * times for at, times in seconds.counts.items()) / total if total else 0.0


def _final_moves(moves: Moves, of_leaf: dict[int, int]) -> Moves:
    """The same counts by final endpoint."""
    final = Moves()
    for leaf, count in moves.begin.items():
        final.begin[of_leaf[leaf]] = final.begin.get(of_leaf[leaf], 0) + count
    for (start, kind, to), count in moves.to.items():
        move = (of_leaf[start], kind, of_leaf[to])
        final.to[move] = final.to.get(move, 0) + count
    for (start, kind), pauses in moves.pauses.items():
        final.pauses.setdefault((of_leaf[start], kind), Pauses()).merge(pauses)
    for leaf, pauses in moves.unfollowed.items():
        final.unfollowed.setdefault(of_leaf[leaf], Pauses()).merge(pauses)
    for leaf, count in moves.overlaps.items():
        final.overlaps[of_leaf[leaf]] = final.overlaps.get(of_leaf[leaf], 0) + count
    return final
