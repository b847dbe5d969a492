"""How requests and sessions arrive: the day's and the week's curve, the peak, bursts (bounded memory)."""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import takewhile
from typing import Final

BIN_S: Final = 10
MINUTE: Final = 60 // BIN_S
LONGEST_S: Final = 400 * 86_400  # what lies further from the first request is no part of the curve
_SECONDS_KEPT: Final = 600
_FAR_BINS: Final = 86_400 // BIN_S
_FEW_STRAYS: Final = 0.01  # of all requests
FEWEST_MINUTES: Final = 100  # for a p99 of minutes
SHORTEST_S: Final = 30.0  # a shorter log has no rates


@dataclass(frozen=True, slots=True)
class Peak:
    """The busiest parts of a log. None where the log is too short for it."""

    minute_requests: int | None  # the busiest minute of the clock
    minute_at: float | None
    second_requests: int
    second_at: float
    p99_minute_requests: float | None
    sessions_per_minute: float | None  # new sessions, at the level that the scenario stands for
    level: str  # which level that is
    concurrency: float | None  # sessions present, mean over the busiest ten seconds


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests and sessions over time."""

    first_t: float
    last_t: float
    requests: int
    sessions: int
    mean_sessions_per_minute: float | None
    mean_concurrency: float | None
    peak: Peak
    dispersion: float | None  # variance over mean of requests a second, within minutes; Poisson has 1
    session_dispersion: float | None  # the same of new sessions in ten seconds, within ten minutes
    by_hour: tuple[tuple[float, ...], ...]  # requests an hour, 7 days from Monday, 24 hours each
    hours_seen: tuple[tuple[int, ...], ...]  # how many of that hour the log has
    timezone: str
    curve: tuple[tuple[float, float, float, float], ...]  # (t, requests/s, sessions/min, present)
    carried: int  # sessions that had begun before the part looked at, and went on in it
    beyond: int  # requests whose time is too far from the first


class ArrivalFold:
    """Counts in bins of ten seconds. Give it everything in about the order of time."""

    def __init__(self, zone: tzinfo = UTC, since: float | None = None) -> None:
        self._zone = zone
        self._since = since
        self._carried = 0
        self._base: int | None = None
        self._requests = array("I")
        self._sessions = array("I")
        self._step = array("d")  # change of the number present, at the end of the bin
        self._part = array("d")  # what those who come or go in the bin add to its mean
        self._seconds: Counter[int] = Counter()
        self._busiest = (0, 0)  # requests, second
        self._minute = (0, 0, 0)  # minute, sum, sum of squares
        self._dispersion = [0.0, 0]  # weighted sum, weight
        self._hours: Counter[int] = Counter()
        self._beyond = 0
        self._first = math.inf
        self._last = -math.inf
        self.counted = 0

    def request(self, t: float) -> None:
        """Count a request."""
        at = self._bin(t)
        if at is None:
            self._beyond += 1
            if self._beyond <= self.counted:
                return
            at = self._begin_anew(t)  # most requests are of another time than the first
        self.counted += 1
        self._requests[at] += 1
        self._first, self._last = min(self._first, t), max(self._last, t)
        second = int(t)
        self._hours[second // 900] += 1  # zones differ by quarters of an hour
        self._seconds[second] += 1
        if len(self._seconds) > _SECONDS_KEPT:
            self._settle(second - _SECONDS_KEPT // 2)

    def session(self, t: float, weight: int = 1) -> None:
        """Count a new session; a negative weight takes it back."""
        if (at := self._bin(t)) is not None:
            self._sessions[at] = max(self._sessions[at] + weight, 0)

    def present(self, start: float, end: float, weight: int = 1) -> None:
        """Count a session as present from its first request to its last answer."""
        if self._since is not None and start < self._since <= end:
            self._carried += weight
        first, last = self._bin(start), self._bin(end)
        if first is None or last is None:
            return
        for at, t, sign in ((first, start, weight), (last, end, -weight)):
            self._step[at] += sign
            self._part[at] += sign * (1 - (t % BIN_S) / BIN_S)

    def arrivals(self) -> Arrivals | None:
        """What was counted, from `since` on; None where there is no request."""
        since = self._since
        self._settle(None)
        self._drop_strays()
        if self._base is None or not self.counted:
            return None
        first = max(self._first, since) if since is not None else self._first
        # Bins that the window or the log cuts have no rate.
        begin = max(math.ceil(first / BIN_S) - self._base, 0)
        stop = max(math.floor((self._last + 0.001) / BIN_S) - self._base, begin)
        present = self._present()
        whole_s = (stop - begin) * BIN_S
        sessions = self._sessions[begin:stop]
        enough = whole_s >= SHORTEST_S
        at = max(range(begin, stop), key=present.__getitem__, default=None)
        per_minute, level = self._level(begin, stop, known=since is not None)
        minutes = self._minutes(begin, stop)
        busiest = max(minutes, default=None)
        zone_hours, seen = self._by_hour()
        return Arrivals(
            first_t=self._first,
            last_t=self._last,
            requests=self.counted,
            sessions=sum(self._sessions),
            mean_sessions_per_minute=sum(sessions) * 60 / whole_s if enough else None,
            mean_concurrency=sum(present[begin:stop]) / (stop - begin) if enough else None,
            peak=Peak(
                minute_requests=busiest[0] if busiest else None,
                minute_at=busiest[1] if busiest else None,
                second_requests=self._busiest[0],
                second_at=float(self._busiest[1]),
                p99_minute_requests=_p99([count for count, _ in minutes]),
                sessions_per_minute=per_minute,
                level=level,
                concurrency=present[at] if at is not None and enough else None,
            ),
            dispersion=self._dispersion[0] / self._dispersion[1] if self._dispersion[1] else None,
            session_dispersion=_dispersion(sessions, 60),
            by_hour=zone_hours,
            hours_seen=seen,
            timezone=str(self._zone),
            curve=self._curve(present, max(math.floor(first / BIN_S) - self._base, 0)),
            carried=self._carried,
            beyond=self._beyond,
        )

    def _drop_strays(self) -> None:
        """Take the few requests of a wrong clock, a day and more from the rest, as of another time."""
        counts = self._requests
        parts: list[list[int]] = []  # first bin, last bin, requests
        for at, count in enumerate(counts):
            if not count:
                continue
            if parts and at - parts[-1][1] <= _FAR_BINS:
                parts[-1][1] = at
                parts[-1][2] += count
            else:
                parts.append([at, at, count])
        most = _FEW_STRAYS * self.counted
        before = list(takewhile(lambda part: part[2] < most, parts))
        after = list(takewhile(lambda part: part[2] < most, reversed(parts[len(before) :])))
        kept = parts[len(before) : len(parts) - len(after)]
        if not kept or not (before or after):
            return
        dropped = sum(part[2] for part in (*before, *after))
        self.counted, self._beyond = self.counted - dropped, self._beyond + dropped
        begin, end = kept[0][0] if before else 0, kept[-1][1] + 1 if after else len(counts)
        for series in (self._requests, self._sessions, self._step, self._part):
            del series[end:]
            del series[:begin]
        self._base = (self._base or 0) + begin
        if before:
            self._first = (self._base + 0.5) * BIN_S
        if after:
            self._last = (self._base + end - begin - 0.5) * BIN_S

    def _begin_anew(self, t: float) -> int:
        """Take what was counted so far as of another time."""
        for series in (self._requests, self._sessions, self._step, self._part):
            del series[:]
        self._seconds.clear()
        self._hours.clear()
        self._busiest, self._minute, self._dispersion = (0, 0), (0, 0, 0), [0.0, 0]
        self._beyond, self.counted = self._beyond - 1 + self.counted, 0
        self._first, self._last = math.inf, -math.inf
        self._base = int(t // BIN_S)
        return self._bin(t) or 0

    def _bin(self, t: float) -> int | None:
        if self._base is None:
            self._base = int(t // BIN_S)
        at = int(t // BIN_S) - self._base
        if at < 0:
            if -at * BIN_S > 86_400:
                return None
            for series in (self._requests, self._sessions, self._step, self._part):
                series[0:0] = array(series.typecode, bytes(series.itemsize * -at))
            self._base += at
            at = 0
        if at * BIN_S > LONGEST_S:
            return None
        if (more := at + 1 - len(self._requests)) > 0:
            for series in (self._requests, self._sessions, self._step, self._part):
                series.frombytes(bytes(series.itemsize * more))
        return at

    def _settle(self, before: int | None) -> None:
        """Take the seconds before this one into the busiest second and the dispersion."""
        for second in sorted(self._seconds if before is None else [s for s in self._seconds if s < before]):
            count = self._seconds.pop(second)
            self._busiest = max(self._busiest, (count, second), key=lambda found: (found[0], -found[1]))
            minute, total, squares = self._minute
            if second // 60 != minute:
                self._end_minute()
                minute, total, squares = second // 60, 0, 0
            self._minute = (minute, total + count, squares + count * count)
        if before is None:
            self._end_minute()
            self._minute = (0, 0, 0)

    def _end_minute(self) -> None:
        minute, total, squares = self._minute
        # Only whole minutes; less than a request a second shows no bursts within a minute.
        if total >= 60 and minute * 60 >= self._first and (minute + 1) * 60 <= self._last + 1:
            mean = total / 60
            variance = (squares - 60 * mean * mean) / 59
            self._dispersion[0] += total * variance / mean
            self._dispersion[1] += total

    def _present(self) -> list[float]:
        found, running = [], 0.0
        for step, part in zip(self._step, self._part, strict=True):
            found.append(running + part)
            running += step
        return found

    def _minutes(self, begin: int, stop: int) -> list[tuple[int, float]]:
        """Requests of every whole minute of the clock, and when it began."""
        base = self._base or 0
        first = begin + -(base + begin) % MINUTE
        return [
            (sum(self._requests[at : at + MINUTE]), float((base + at) * BIN_S))
            for at in range(first, stop - MINUTE + 1, MINUTE)
        ]

    def _level(self, begin: int, stop: int, *, known: bool) -> tuple[float | None, str]:
        """New sessions a minute at the peak, and what that is the level of."""
        if (stop - begin) * BIN_S < SHORTEST_S:
            return None, f"the log has less than {SHORTEST_S:g} s"
        minutes = [sum(self._sessions[at : at + MINUTE]) for at in range(begin, stop - MINUTE + 1, MINUTE)]
        p99 = _p99(minutes)
        if p99 is not None:
            return p99, "p99 of minutes"
        if known:
            sessions, level = self._sessions[begin:stop], "mean of the part looked at"
        else:
            sessions = self._sessions[begin + (stop - begin) // 4 : stop]
            level = "mean without the first quarter, in which visits in progress look new"
        return sum(sessions) * 60 / (len(sessions) * BIN_S), level

    def _by_hour(self) -> tuple[tuple[tuple[float, ...], ...], tuple[tuple[int, ...], ...]]:
        counts = [[0] * 24 for _ in range(7)]
        seen: list[list[set[int]]] = [[set() for _ in range(24)] for _ in range(7)]
        for quarter, count in self._hours.items():
            local = datetime.fromtimestamp(quarter * 900, self._zone)
            counts[local.weekday()][local.hour] += count
            seen[local.weekday()][local.hour].add(local.toordinal())
        hours = tuple(tuple(len(days) for days in row) for row in seen)
        return tuple(
            tuple(count / max(days, 1) for count, days in zip(row, of, strict=True))
            for row, of in zip(counts, hours, strict=True)
        ), hours

    def _curve(
        self, present: Sequence[float], begin: int, most: int = 300
    ) -> tuple[tuple[float, float, float, float], ...]:
        wide = max(1, math.ceil((len(present) - begin) / most))
        base = self._base or 0
        points = []
        for at in range(begin, len(present), wide):
            upto = min(at + wide, len(present))
            span_s = (upto - at) * BIN_S
            points.append(
                (
                    float((base + at) * BIN_S),
                    sum(self._requests[at:upto]) / span_s,
                    sum(self._sessions[at:upto]) * 60 / span_s,
                    sum(present[at:upto]) / (upto - at),
                )
            )
        return tuple(points)


def _p99(minutes: Sequence[int]) -> float | None:
    if len(minutes) < FEWEST_MINUTES:
        return None
    return float(sorted(minutes)[math.ceil(0.99 * len(minutes)) - 1])


def _dispersion(counts: Sequence[int], block: int) -> float | None:
    """Index of dispersion: variance over mean, within blocks, so that the day's curve is no burst."""
    weighted = weight = 0.0
    for at in range(0, len(counts) - 5, block):
        part = counts[at : at + block]
        mean = sum(part) / len(part)
        if len(part) > 5 and mean >= 1:
            variance = sum((count - mean) ** 2 for count in part) / (len(part) - 1)
            weighted += mean * variance / mean
            weight += mean
    return weighted / weight if weight else None
