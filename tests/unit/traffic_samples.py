"""Requests of made-up visitors, as the reading of a log gives them."""

import random
from collections.abc import Iterable, Iterator, Sequence

from rushhour.jobs.init.routes import Route
from rushhour.jobs.traffic.build import Asked, Fold, build
from rushhour.jobs.traffic.model import TrafficModel
from rushhour.jobs.traffic.record import FormatRead, Logged, ReadingReport

START = 1_780_000_000.0  # a Thursday evening


def logged(
    t: float,
    path: str,
    visitor: str = "v1",
    *,
    method: str = "GET",
    status: int = 200,
    seconds: float | None = 0.1,
    agent: str = "client",
    query: bool = False,
) -> Logged:
    return Logged(START + t, method, path, query, status, seconds, 100, visitor, agent, 1)  # type: ignore[arg-type]


def report_of(requests: Sequence[Logged], resolution_s: float = 0.001) -> ReadingReport:
    times = [request.t for request in requests]
    return ReadingReport(
        files=("access.log",),
        formats=(FormatRead("combined", len(requests), "start"),),
        lines=len(requests),
        requests=len(requests),
        skipped=(),
        first_t=min(times, default=None),
        last_t=max(times, default=None),
        late=0,
        late_first=(),
        resolution_s=resolution_s,
        visitors_by="address and agent",
        problems=(),
        took_s=1.0,
        lines_per_second=float(len(requests)),
    )


def modelled(
    requests: Iterable[Logged], asked: Asked | None = None, resolution_s: float = 0.001
) -> TrafficModel:
    ordered = sorted(requests, key=lambda item: item.t)
    fold = Fold(asked or Asked())
    fold.take(ordered)
    return build(fold, report_of(ordered, resolution_s))


ROUTES = [
    Route("/login", "POST"),
    Route("/customers/{customer_id}/summary", "GET"),
    Route("/customers/{customer_id}/orders", "GET"),
    Route("/orders/{order_id}", "GET"),
]


def shop_visits(
    *, per_s: float = 2.0, lasts_s: float = 3_600.0, think_s: float = 10.0, back: float = 0.5, seed: int = 1
) -> Iterator[Logged]:
    """Sessions: log-in, the summary at once, orders after a pause, a detail; then orders again or away."""
    rng = random.Random(seed)  # noqa: S311  # no secret
    t, number = 0.0, 0
    while (t := t + rng.expovariate(per_s)) < lasts_s:
        number += 1
        yield from _visit(rng, t, f"visitor {number}", think_s=think_s, back=back, lasts_s=lasts_s)


def _visit(
    rng: random.Random, t: float, visitor: str, *, think_s: float, back: float, lasts_s: float
) -> Iterator[Logged]:
    def think() -> float:
        return 0.1 + think_s * rng.lognormvariate(0, 0.6)

    customer = int(rng.paretovariate(1.0))
    found = [logged(t, "/login", visitor, method="POST")]
    t += 0.1 + rng.uniform(0.05, 0.3)
    found.append(logged(t, f"/customers/{customer}/summary", visitor))
    while True:
        t += think()
        found.append(logged(t, f"/customers/{customer}/orders", visitor))
        t += think()
        found.append(logged(t, f"/orders/{rng.randint(1, 5000)}", visitor))
        if rng.random() >= back:
            break
    yield from (item for item in found if item.t < START + lasts_s)
