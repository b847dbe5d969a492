"""`rushhour check`: one request per endpoint; does every connection come back when its response has ended?"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rushhour.metrics.wording import counted_were
from rushhour.rundir import facts as f

_LINE = re.compile(r"(?P<method>GET|POST|PUT|PATCH|DELETE) (?P<path>/\S*)(?: (?P<body>.+))?")


@dataclass(frozen=True, slots=True)
class Request:
    """One line of `service.check`: `POST /login {"customer_id": 1}`."""

    method: str
    path: str
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `status` None when nothing did."""

    request: Request
    status: int | None
    took_ms: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`leaked`: check-outs still out whose request has ended. `unrequested`: routes that no line reaches.

    `at_work`: those that were taken meanwhile and are still out, of work that has not ended.
    """

    answers: tuple[Answer, ...]
    leaked: tuple[f.CheckOut, ...]
    unrequested: tuple[str, ...]
    samples: int
    at_work: tuple[f.CheckOut, ...] = ()
    unseen: int = 0  # processes that took connections, and of which nothing was seen after the last response

    @property
    def verdict(self) -> Literal["pass", "fail", "unknown"]:
        """Fail when a connection stayed out; unknown when something kept the check from seeing."""
        if self.leaked:
            return "fail"
        return "unknown" if self.doubts else "pass"

    @property
    def doubts(self) -> tuple[str, ...]:
        """What kept the check from seeing every endpoint at work."""
        doubts = [
            f"{answer.request.method} {answer.request.path} "
            + (f"answered {answer.status}" if answer.status else f"got no answer: {answer.error}")
            for answer in self.answers
            if answer.status is None or answer.status >= 400
        ]
        doubts += [
            f"{route} was not requested; add a line for it to service.check" for route in self.unrequested
        ]
        doubts += [
            f"pool {pool}: {counted_were(count, 'connection')} still out at {file}:{line}, in work that had "
            "not ended: whether that gives back what it takes was not seen"
            for (pool, file, line), count in Counter(
                (out.pool, out.site.file, out.site.line) for out in self.at_work
            ).items()
        ]
        if self.unseen:
            were = counted_were(self.unseen, "process")
            doubts.append(f"{were} killed, or stood still: what it had out at the end was not seen")
        if not self.samples:
            doubts.append("the agent reported no pool: does the service use SQLAlchemy's QueuePool?")
        return tuple(doubts)


def parse_request(line: str) -> Request:
    """Raises ValueError that says what is allowed."""
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise ValueError(f"{line!r} is not a request; write `GET /path` or `POST /path {{json}}`")
    return Request(found["method"], found["path"], found["body"])


def unrequested(routes: Iterable[str], requests: Sequence[Request]) -> list[str]:
    """Return the routes (`GET /customers/<int:id>`) that no request reaches."""
    return [
        route
        for route in routes
        if not any(
            route.startswith(f"{row.method} ") and re.fullmatch(_pattern(route), f"{row.method} {row.path}")
            for row in requests
        )
    ]


def _pattern(route: str) -> str:
    parts = re.split(r"(<[^>]+>)", route)
    body = "".join(
        ".+" if "<path:" in part else "[^/]+" if part.startswith("<") else re.escape(part) for part in parts
    )
    return body + r"(\?.*)?"
