"""Reads one log in the formats that it turns out to have, and counts what is no request."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Final

from rushhour.jobs.traffic.agents import Agents
from rushhour.jobs.traffic.columns import is_directive, w3c_format
from rushhour.jobs.traffic.formats import NONE, Format, Found
from rushhour.jobs.traffic.json_lines import guessed_format
from rushhour.jobs.traffic.lines import LogFile
from rushhour.jobs.traffic.options import SessionKey
from rushhour.jobs.traffic.record import Logged
from rushhour.jobs.traffic.requests import Requests
from rushhour.jobs.traffic.times import Clock
from rushhour.jobs.traffic.visitors import Visitors
from rushhour.jobs.traffic.wrapped import WRAPPERS, inner, wrapped

EMPTY: Final = "empty"
TOO_LONG: Final = "longer than 65,536 characters"
HEADER: Final = "a header or comment"
NO_FORMAT: Final = "not of the format, or only half a line"
_FIRST: Final = 5
_METHODS: Final = re.compile(r"GET|POST|PUT|HEAD|DELETE|PATCH|OPTIONS")  # one of them is in any log
_DEEPEST: Final = 3  # colours inside of a container runtime's lines inside of JSON
_MOST_FORMATS: Final = 40  # lines of JSON with random fields would teach a format each


@dataclass(frozen=True, slots=True)
class Rules:
    """What all logs of a reading are read by."""

    formats: tuple[Format, ...]
    fixed: bool  # only these formats: they were asked for
    columns: bool  # `#Fields:` lines begin a format
    zone: tzinfo | None
    visitors: Visitors
    agents: Agents
    session: SessionKey


@dataclass(slots=True)
class Tally:
    """What was counted over the logs of a reading."""

    lines: int = 0
    requests: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)  # reason -> file:line
    formats: dict[str, tuple[Format, int]] = field(default_factory=dict)
    no_offset: bool = False  # a time stamp without an offset from UTC was read
    fractions: bool = False  # a time stamp had parts of a second

    def skip(self, reason: str, file: str, line: int) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
        first = self.first.setdefault(reason, [])
        if len(first) < _FIRST:
            first.append(f"{file}:{line}")

    def took(self, form: Format, requests: int) -> None:
        self.formats[form.name] = (form, self.formats.get(form.name, (form, 0))[1] + requests)
        self.requests += requests


class Log:
    """The requests of one file, in blocks and in the file's order."""

    def __init__(self, file: LogFile, rules: Rules, tally: Tally) -> None:
        self.file = file
        self.requests = 0
        self._rules = rules
        self._tally = tally
        self._forms: list[Format] = list(rules.formats)
        self._clocks: dict[str | None, Clock] = {}
        self._makers: dict[str | None, Callable[[Found, Format, int], Logged | str]] = {}
        self._headers: list[str] = []  # of W3C logs

    def blocks(self) -> Iterator[list[Logged]]:
        """Every line is a request or is counted as skipped, with its reason."""
        tally, path = self._tally, self.file.path
        form = self._forms[0] if self._forms else NONE
        parse, request = form.parse, self._maker(form)
        number = 0
        for block in self.file.blocks():
            taken: list[Logged] = []
            take = taken.append
            before = 0  # of `taken`, from another format
            for line in block:
                number += 1
                if not line:
                    tally.skip(TOO_LONG if line is None else EMPTY, path, number)
                    continue
                found = parse(line)
                if found is None:
                    other = self._other(line)
                    if isinstance(other, str):
                        tally.skip(other, path, number)
                        if other == HEADER:  # it may say that the columns are others from now on
                            tally.took(form, len(taken) - before)
                            before = len(taken)
                            form = self._forms[0] if self._forms else NONE
                            parse, request = form.parse, self._maker(form)
                        continue
                    tally.took(form, len(taken) - before)
                    before = len(taken)
                    form, found = other
                    parse, request = form.parse, self._maker(form)
                made = request(found, form, number)
                if made.__class__ is Logged:
                    take(made)
                else:
                    tally.skip(str(made), path, number)
            tally.lines += len(block)
            if taken:
                tally.took(form, len(taken) - before)
                self.requests += len(taken)
                self._note_stamps()
                yield taken

    def _maker(self, form: Format) -> Callable[[Found, Format, int], Logged | str]:
        maker = self._makers.get(form.time_pattern)
        if maker is None:
            clock = self._clocks[form.time_pattern] = Clock(self._rules.zone, form.time_pattern)
            maker = Requests(clock, self._rules.visitors, self._rules.agents).request
            self._makers[form.time_pattern] = maker
        return maker

    def _note_stamps(self) -> None:
        for clock in self._clocks.values():
            self._tally.no_offset |= clock.no_offset
            self._tally.fractions |= clock.fractions

    def _other(self, line: str) -> tuple[Format, Found] | str:
        """The format of a line that is of another than the one before, or why it is of none."""
        if line[0] == "#" and self._rules.columns and is_directive(line):
            self._directive(line)
            return HEADER
        for form in self._forms:
            if (found := form.parse(line)) is not None:
                self._prefer(form)
                return form, found
        if len(self._forms) < _MOST_FORMATS and _METHODS.search(line):
            learnt = self._learnt(line)
            if learnt is not None and (found := learnt.parse(line)) is not None:
                self._prefer(learnt)
                return learnt, found
        return NO_FORMAT

    def _prefer(self, form: Format) -> None:
        if form in self._forms:
            self._forms.remove(form)
        self._forms.insert(0, form)

    def _learnt(self, line: str, depth: int = 1) -> Format | None:
        """A format that the line teaches: JSON with usual names, or a known one inside of other lines."""
        if not self._rules.fixed and (form := guessed_format(line, self._rules.session)):
            return form
        for wrapper in WRAPPERS:
            inside = inner(wrapper, line)
            if inside is None or not inside.line:
                continue
            for form in self._forms:
                if form.parse(inside.line) is not None:
                    return wrapped(form, wrapper)
            if depth < _DEEPEST and (learnt := self._learnt(inside.line, depth + 1)) is not None:
                return wrapped(learnt, wrapper)
        return None

    def _directive(self, line: str) -> None:
        """Lines of W3C logs that say what comes: each `#Fields:` begins a format of its own."""
        self._headers = [*self._headers[-20:], line]
        if form := w3c_format(self._headers, self._rules.session):
            self._forms = [known for known in self._forms if known.name != form.name]
            self._forms.insert(0, form)
