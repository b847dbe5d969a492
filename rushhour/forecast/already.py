"""Forecasts from a run that exhausted a pool itself, before it showed what is normal (pure)."""

from dataclasses import replace
from itertools import pairwise

from rushhour.forecast.leaks import NOT_FROM_CUSTOMERS, Leak
from rushhour.forecast.place import Place
from rushhour.forecast.processes import processes_of
from rushhour.forecast.words import headline_of
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.rundir.facts import CallSite
from rushhour.scenario.day import Day
from rushhour.scenario.model import Scenario
from rushhour.verdict.forecast import Forecast, PoolForecast, Range
from rushhour.verdict.judge import Verdict


def customer_seconds(day: Day) -> float:
    """Return how long a customer of the peak would be there over the day, in seconds."""
    return sum(
        (to_s - from_s) * (before + after) / 2 for (from_s, before), (to_s, after) in pairwise(day.points)
    )


def exhausted_already(
    scenario: Scenario, history: History, verdict: Verdict, leak: Leak | None, place: Place
) -> Forecast | None:
    """Return the forecast of a run that exhausted a pool with no more customers than production has.

    It says yes, and no time: the run says nothing of how fast. None if the run does not show that production
    would be exhausted as well: it had fewer threads or larger pools there, or a fault of a server.
    """
    get = verdict.metrics.get
    full, capacity, users = get("pool_in_use_max"), get("pool_capacity"), get("users_max")
    after_s = get("time_to_exhaustion_s")
    cause = verdict.diagnosis.cause
    if not full or not capacity or full < capacity or not users or after_s is None:
        return None
    if history.event(f.FAULT) is not None or customer_seconds(place.day) * place.customers < users * after_s:
        return None
    if cause in NOT_FROM_CUSTOMERS or cause == "none":
        return None
    lost = leak is not None and leak.leaked >= capacity
    timeouts = int(get("queuepool_timeouts") or 0)
    newest = max(history.pools, key=lambda sample: (sample.checked_out, sample.t_s))
    rules = place.pools.get(newest.pool)
    processes = processes_of(history, history.pools)[newest.pool]
    threads = scenario.service.threads
    harder = (
        (lost or timeouts)
        and place.customers / place.processes >= users / processes
        and rules is not None
        and rules.capacity is not None
        and rules.capacity <= capacity
        and (place.threads is None or place.threads >= threads)
    )
    if not harder:
        return None
    lines = [site for site in verdict.diagnosis.call_sites if site.pool == newest.pool]
    site = CallSite(lines[0].file, lines[0].line, lines[0].function) if lines else None
    said = [f"the run itself exhausted pool {newest.pool} with {counted(int(users), 'customer')}"]
    if timeouts:
        said.append(counted(timeouts, "pool time-out"))
    if lost and leak is not None:
        said.append(f"all {leak.leaked} connections leaked")
    made = Forecast(
        exhausts="yes",
        headline="",
        reasons=(
            ", ".join(said),
            "too few of its seconds were healthy to say when, or how long requests wait",
        ),
        place=place.in_words(),
        customers=place.customers,
        chance=1.0,
        pool=newest.pool,
        cause=cause,
        site=leak.site if leak is not None else site,
        endpoint=leak.endpoint if leak is not None else None,
        pools=(PoolForecast(newest.pool, int(capacity), Range(capacity, capacity, capacity), None),),
        assumptions=(
            "production is no easier than the run: no fewer customers, no fewer threads, no larger pool",
        ),
        curve=tuple((at_s, share * place.customers) for at_s, share in place.day.points),
        pushes_s=tuple(push.at_s for push in place.day.pushes),
        starts_s=place.day.starts_s,
    )
    return replace(made, headline=headline_of(made))
