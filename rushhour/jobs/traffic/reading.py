"""Reads access logs as one stream of requests."""

import stat
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Final

from rushhour.errors import UsageError
from rushhour.jobs.traffic.agents import Agents
from rushhour.jobs.traffic.choice import chosen_formats
from rushhour.jobs.traffic.lines import STDIN, LogFile
from rushhour.jobs.traffic.log import Log, Rules, Tally
from rushhour.jobs.traffic.options import ReadingOptions
from rushhour.jobs.traffic.record import FormatRead, Logged, Progress, ReadingReport, Skipped
from rushhour.jobs.traffic.requests import NO_TIME
from rushhour.jobs.traffic.visitors import Visitors

_PROGRESS_EVERY_S: Final = 0.5
_IN_ORDER: Final = 50_000  # requests that are held back to put them in order, over all files that are open
_IN_ORDER_PER_FILE: Final = 500
_HELD_CHARACTERS: Final = 16 << 20  # of their paths, which bots make very long
_AHEAD_S: Final = 120.0  # a file is opened so long before its first request: that of its first line
_FIRST: Final = 5
_BEGINNING: Final = 1000  # requests of a file that are compared with the beginnings of others
_ALIKE: Final = 20  # fewer that are the same may be a probe of two servers
_t: Final = itemgetter(0)


@dataclass(slots=True)
class _Open:
    """A file in the middle of being read: its requests in order, a part at a time."""

    parts: Iterator[list[Logged]]
    part: list[Logged] = field(default_factory=list)
    at: int = 0

    def head(self) -> float | None:
        """When its next request began; None at its end."""
        while self.at >= len(self.part):
            following = next(self.parts, None)
            if following is None:
                return None
            self.part, self.at = following, 0
        return self.part[self.at].t

    def take(self, until: float) -> list[Logged]:
        """What is at hand up to a moment, at least one request."""
        end = bisect_right(self.part, until, lo=self.at, key=_t)
        start, self.at = self.at, max(end, self.at + 1)
        return self.part[start : self.at]


class Reading:
    """The requests of some logs in the order of time, once; `report` says what was found.

    Requests are in order unless a log's clock went back, or lines are further from their place than some ten
    thousand lines: `report.late` counts those.
    """

    def __init__(
        self, paths: Sequence[str], options: ReadingOptions, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self._paths = tuple(paths)
        self._options = options
        self._on_progress = on_progress
        self._visitors = Visitors(options.session, options.salt)
        choice = chosen_formats(options)
        self._rules = Rules(
            choice.formats,
            choice.fixed,
            choice.columns,
            options.timezone,
            self._visitors,
            Agents(),
            options.session,
        )
        self._tally = Tally()
        self._files: list[LogFile] = []
        self._logs: list[Log] = []
        self._active: list[_Open] = []
        self._bytes_total = _size_of(self._paths)
        self._begun = time.monotonic()
        self._shown = self._begun
        self._ended: float | None = None
        self._first_t: float | None = None
        self._last_t: float | None = None
        self._late = 0
        self._late_first: list[int] = []
        self._beginnings: dict[str, list[Logged]] = {}
        self._copies: list[str] = []

    def __iter__(self) -> Iterator[Logged]:
        if self._logs:
            raise RuntimeError("a reading is iterated once")
        self._begun = self._shown = time.monotonic()
        for part in self._merged():
            yield from part
        self._ended = time.monotonic()
        if self._on_progress:
            self._on_progress(self._progress(self._ended))
        if not self._tally.requests:
            raise UsageError(self._nothing_usable())

    def _merged(self) -> Iterator[list[Logged]]:
        waiting = self._waiting()
        while self._active or waiting:
            heads: list[tuple[float, int, _Open]] = []
            for file in list(self._active):
                head = file.head()
                if head is None:
                    self._active.remove(file)
                else:
                    heads.append((head, len(heads), file))
            heads.sort()
            if waiting and (not heads or waiting[-1][0] - _AHEAD_S <= heads[0][0]):
                self._open(waiting.pop()[1])
            elif heads:
                until = heads[1][0] if len(heads) > 1 else float("inf")
                if waiting:
                    until = min(until, waiting[-1][0] - _AHEAD_S)
                part = heads[0][2].take(until)
                self._note(part)
                yield part

    def _waiting(self) -> list[tuple[float, str]]:
        """Files by their first request, the earliest last; a single file or a pipe is opened at once."""
        if len(self._paths) == 1:
            self._open(self._paths[0])
            return []
        waiting = []
        for path in self._paths:
            if path == STDIN or not stat.S_ISREG(Path(path).stat().st_mode):
                self._open(path)
                continue
            trial = Log(LogFile(path), self._rules, Tally())
            first = next(trial.blocks(), None)
            self._note_copy(path, first or [])
            waiting.append((first[0].t if first else 0.0, path))
        return sorted(waiting, reverse=True)

    def _note_copy(self, path: str, first: list[Logged]) -> None:
        """Note a log that begins as another one does: access.log.1 beside its own access.log.1.gz, say."""
        for other, known in self._beginnings.items():
            alike = min(len(first), len(known))
            if alike >= _ALIKE and first[:alike] == known[:alike]:
                self._copies.append(f"{path}: begins as {other} does: what stands in both is counted twice")
        self._beginnings[path] = first[:_BEGINNING]

    def _open(self, path: str) -> None:
        log = Log(LogFile(path), self._rules, self._tally)
        self._logs.append(log)
        self._active.append(_Open(self._in_order(log)))

    def _in_order(self, log: Log) -> Iterator[list[Logged]]:
        """Puts requests in order that are not far from it: logs have them by their end, and by worker."""
        held: list[Logged] = []
        for block in log.blocks():
            self._show()
            held += block
            hold = max(_IN_ORDER // max(len(self._active), 1), _IN_ORDER_PER_FILE)
            some = block[::16]
            hold = min(hold, _HELD_CHARACTERS * len(some) // (1 + sum(len(request.path) for request in some)))
            if len(held) >= 2 * hold:
                held.sort(key=_t)
                yield held[:-hold]
                held = held[-hold:]
        held.sort(key=_t)
        yield held

    def _note(self, part: list[Logged]) -> None:
        first, last = part[0].t, part[-1].t
        if self._last_t is not None and first < self._last_t:
            late = bisect_left(part, self._last_t, key=_t)
            self._late += late
            for request in part[: min(late, _FIRST - len(self._late_first))]:
                self._late_first.append(request.line)
        self._first_t = first if self._first_t is None else min(first, self._first_t)
        self._last_t = last if self._last_t is None else max(last, self._last_t)

    def _show(self) -> None:
        now = time.monotonic()
        if self._on_progress and now - self._shown >= _PROGRESS_EVERY_S:
            self._shown = now
            self._on_progress(self._progress(now))

    def _progress(self, now: float) -> Progress:
        done = sum(log.file.bytes_done for log in self._logs)
        return Progress(self._tally.lines, done, self._bytes_total, now - self._begun)

    def is_user(self, segment: str) -> bool:
        """Whether a segment of a path is a user of the log, or the part of their address before the @."""
        return self._visitors.is_user(segment)

    @property
    def report(self) -> ReadingReport:
        """What was found so far; complete after the last request."""
        tally = self._tally
        took_s = (self._ended or time.monotonic()) - self._begun
        formats = sorted(tally.formats.values(), key=lambda known: -known[1])
        return ReadingReport(
            files=self._paths,
            formats=tuple(
                FormatRead(form.name, requests, form.stamps, form.notes)
                for form, requests in formats
                if requests
            ),
            lines=tally.lines,
            requests=tally.requests,
            skipped=self._skipped(),
            first_t=self._first_t,
            last_t=self._last_t,
            late=self._late,
            late_first=tuple(self._late_first),
            resolution_s=0.001 if tally.fractions else 1.0,
            visitors_by=self._visitors.words(),
            problems=tuple(self._problems()),
            took_s=took_s,
            lines_per_second=tally.lines / took_s if took_s > 0 else 0.0,
        )

    def _skipped(self) -> tuple[Skipped, ...]:
        counts = sorted(self._tally.skipped.items(), key=lambda known: -known[1])
        return tuple(Skipped(reason, lines, tuple(self._tally.first[reason])) for reason, lines in counts)

    def _problems(self) -> Iterator[str]:
        yield from self._copies
        for log in self._logs:
            if log.file.problem:
                yield f"{log.file.path}: {log.file.problem}"
            elif not log.requests:
                yield f"{log.file.path}: no request in it"
        if self._tally.no_offset and self._options.timezone is None:
            yield "time stamps have no offset from UTC and were taken as UTC: give their zone with --timezone"

    def _nothing_usable(self) -> list[str]:
        names = [form.name for form in self._rules.formats]
        names += [] if self._rules.fixed else ["JSON lines"]
        names += ["W3C extended (named by a #Fields: line)"] if self._rules.columns else []
        tried = f"tried: {', '.join(names)}"
        where = ", ".join(self._paths)
        problems = [f"{where}: no line of {self._tally.lines:,} is a request; {tried}"]
        problems += [
            f"  {skipped.lines:,} skipped: {skipped.reason} ({', '.join(skipped.first)})"
            for skipped in self._skipped()
        ]
        problems += [f"  {log.file.path}: {log.file.problem}" for log in self._logs if log.file.problem]
        if NO_TIME in self._tally.skipped:
            problems.append(
                "  the lines carry no time (uvicorn's default, logging.basicConfig()): log "
                "%(asctime)s too (uvicorn --log-config, basicConfig(format=...)), "
                "or give the log as the container runtime keeps it, with times (docker logs --timestamps)"
            )
        else:
            problems.append(
                "  name the format with --format, or give it with --log-format (nginx, Apache, gunicorn, "
                "#Fields:) or --field (JSON lines)"
            )
        return problems


def _size_of(paths: Sequence[str]) -> int | None:
    """Bytes of all files; None if one is a pipe. UsageError for a file that cannot be read, all at once."""
    total, piped, problems = 0, False, []
    seen: dict[tuple[int, int], str] = {}
    for path in paths:
        if path == STDIN:
            piped = True
            continue
        try:
            status = Path(path).stat()
        except OSError as error:
            problems.append(f"{path}: cannot be read: {error.strerror}")
            continue
        if stat.S_ISDIR(status.st_mode):
            problems.append(f"{path}: is a directory; name the logs in it")
        if stat.S_ISREG(status.st_mode):
            identity = (status.st_dev, status.st_ino)
            if identity in seen:
                problems.append(f"{path}: is the same file as {seen[identity]}; name it once")
            seen.setdefault(identity, path)
        piped = piped or not stat.S_ISREG(status.st_mode)
        total += status.st_size
    if not paths:
        problems.append('no log is given; name files, or "-" for standard input')
    if list(paths).count(STDIN) > 1:
        problems.append('"-" is given more than once')
    if problems:
        raise UsageError(problems)
    return None if piped else total


def read(
    paths: Sequence[str],
    options: ReadingOptions | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Reading:
    """Requests of access logs: plain, .gz, .bz2, .xz, .zst, or "-" for standard input; merged by time.

    Raises UsageError (exit 64) for a file that cannot be opened or an unknown format; the iteration raises it
    at its end when no line at all was a request, with the formats that were tried.
    """
    return Reading(paths, options or ReadingOptions(), on_progress)
