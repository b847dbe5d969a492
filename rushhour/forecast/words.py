"""Says in sentences what a forecast found (pure)."""

from collections.abc import Iterator, Sequence
from statistics import median

from rushhour.diagnosis.sites import at
from rushhour.forecast.behaviour import Behaviour, Setup
from rushhour.forecast.course import Course
from rushhour.forecast.leaks import Leak
from rushhour.forecast.place import Place
from rushhour.metrics.wording import counted
from rushhour.scenario.day import clock_of
from rushhour.verdict.forecast import Forecast, PoolForecast


def headline_of(made: Forecast) -> str:
    """Say the answer in one sentence, with cause, line and time."""
    where = f"With {made.place}"
    site = f" at {at(made.site)}" if made.site is not None else ""
    capacity = next((pool.capacity for pool in made.pools if pool.pool == made.pool), None)
    of = f"all {capacity} connections of pool {made.pool}" if capacity else f"pool {made.pool}"
    if made.exhausts == "yes":
        return f"{where}, production will exhaust {of}{when_words(made)}: {made.cause}{site}"
    if made.exhausts == "unsure":
        what = f": {made.cause}{site}" if made.cause else ""
        which = "a pool" if made.pool is None else of
        return f"{where}, production may exhaust {which}{what}; {made.reasons[0]}"
    leak = f"; {made.cause}{site} leaks nevertheless" if made.cause and made.site else ""
    return f"{where}, production will not exhaust a pool: {made.reasons[-1]}{leak}"


def when_words(made: Forecast) -> str:
    """Say when: ` after 40 s (39 to 41 s)`, or ` at 18:31 (18:30 to 18:34)`."""
    when = made.exhausted_after_s
    if when is None:
        return ""
    if made.exhausted_at:
        expected, low, high = made.exhausted_at
        return f" at {expected} ({low} to {high})"
    return (
        f" after {duration_words(when.expected)} ({duration_words(when.low)} to {duration_words(when.high)})"
    )


def duration_words(seconds: float) -> str:
    """`4 ms`, `40.2 s`, `12 min`, `3.5 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def clock_words(made: Forecast, t_s: float) -> str:
    """Say when, seconds after the start of the day: `at 18:31`, or `after 40.2 s`."""
    if made.starts_s is None:
        return f"after {duration_words(t_s)}"
    return f"at {clock_of(made.starts_s + t_s)}"


def leak_words(leak: Leak, capacity: int | None) -> str:
    """Say what the run leaked, and what that means for a pool of this capacity."""
    of = "without a limit" if capacity is None else f"of {capacity}"
    seen = f"the run leaked {counted(leak.leaked, 'connection')} of pool {leak.pool} at {at(leak.site)}"
    if leak.kinds == ("thread",) and leak.eager:
        return (
            f"{seen}, on more threads than requests were at work at the same time: this server starts its "
            "threads beforehand, each keeps a connection once it served the endpoint, and the pool is one "
            f"{of}"
        )
    if leak.kinds == ("thread",):
        return f"{seen}: each thread that serves the endpoint keeps one, and the pool is one {of}"
    if leak.kinds == ("path",):
        checkouts = counted(leak.requests, "check-out")
        return f"{seen}, in {checkouts}: each further one may be lost as well, and the pool is one {of}"
    if leak.kinds == ("dropped",):
        return f"{seen}, all of which came back by garbage collection alone"
    return (
        f"{seen}; so few requests cannot tell a connection for each thread from a path that forgets to close"
    )


def threads_words(setup: Setup, pool: str, capacity: int | None) -> str:
    """Say that nobody knows how many threads a process has, and what that means for a pool."""
    shown = (
        f"the run had {setup.threads_seen} at work at once" if setup.threads_seen else "the run shows none"
    )
    said = (
        "its scenario does not say it"
        if setup.threads_said is None
        else f"its scenario says {setup.threads_said}, and the run had more at work"
    )
    has = "no limit" if capacity is None else f"{capacity} connections, which fewer threads cannot exhaust"
    return (
        f"how many threads a process has is not known ({said}; {shown}), and pool {pool} has {has}; say it: "
        "--threads"
    )


def demand_words(behaviour: Behaviour, place: Place, pool: str, courses: Sequence[Course]) -> str:
    """Say how many connections of a pool are asked for at the peak, at the hold times of the run.

    Of requests and of jobs it is what the middle one of the courses has.
    """
    requests = sum(sum(second.requests.values()) for second in behaviour.seconds)
    held_s = 0.0
    for endpoint in behaviour.endpoints.values():
        count = sum(second.requests.get(endpoint.name, 0) for second in behaviour.seconds)
        held_s += sum(
            visit.per_request * visit.hold_s * count / requests
            for visit in endpoint.visits
            if visit.pool == pool
        )
    wanted = median(
        course.requests_per_s * held_s / place.processes + course.jobs_out.get(pool, 0.0)
        for course in courses
    )
    wanted += behaviour.standing.get(pool, 0)
    rules = place.pools[pool]
    return (
        f"at the peak a process needs {wanted:.1f} connections of pool {pool} on average, at the hold times "
        f"of the run, and has {rules.capacity}; a wait ends after {rules.timeout_s:g} s"
    )


def overload_words(place: Place, courses: Sequence[Course]) -> Iterator[str]:
    """Say which pools and threads are all in use for a minute or longer, though no check-out times out."""
    for name in sorted(place.pools):
        waits_s = sorted(course.full_wait_s[name] for course in courses if name in course.full_wait_s)
        if waits_s:
            yield (
                f"pool {name} would be full for long, and a check-out would wait for about "
                f"{duration_words(waits_s[len(waits_s) // 2])} (time-out {place.pools[name].timeout_s:g} s)"
            )
    busy = sorted(course.threads_needed for course in courses if course.threads_needed)
    if busy and not any(course.full_wait_s for course in courses):
        yield (
            f"requests would wait for a thread for long: {busy[len(busy) // 2]:,.0f} of a process would be "
            f"at work at the peak, and it has {place.threads} threads"
        )


def fit_words(pools: Sequence[PoolForecast]) -> str:
    """Say how full the fullest pool is, with its interval: more may be out, though that is not likely."""
    fullest = max(
        pools,
        key=lambda pool: pool.in_use_max.high / pool.capacity if pool.capacity else 0.0,
        default=None,
    )
    if fullest is None:
        return "no request takes a connection"
    of = f" of {fullest.capacity}" if fullest.capacity else ""
    most = fullest.in_use_max
    return (
        f"pool {fullest.pool}, the fullest, is expected to have {most.expected:.0f}{of} connections out at "
        f"the most ({most.low:.0f} to {most.high:.0f})"
    )


def assumptions(behaviour: Behaviour, place: Place) -> tuple[str, ...]:
    """List what the figures take for granted."""
    found = [
        f"each customer asks as often as in the run, scaled to a think time of {place.think_s:g} s"
        if place.think_s != behaviour.setup.think_s
        else "each customer asks as often as in the run",
        "production's servers are as fast as those of the run, and the query plans are the same",
    ]
    if place.think_s != behaviour.setup.think_s and behaviour.pauses_more:
        found.append(
            f"customers paused for longer in the run than its think time of {behaviour.setup.think_s:g} s; "
            "those pauses change with it in some of the courses, and stay in the others"
        )
    if place.steady:
        found.append("all customers are there for a day, and no push notification goes out")
    if behaviour.jobs:
        found.append(
            "check-outs of no request that the load generator saw end, such as those of jobs, come by "
            "themselves: as many of a process as in the run if they came before the load, too; whether "
            "others grow with the customers is not known, so that they do in some of the courses"
        )
    for pool, count in sorted(behaviour.standing.items()):
        found.append(f"{counted(count, 'connection')} of pool {pool} are out all the time in each process")
    if behaviour.cpu_share is None:
        found.append("the CPU of the process was not measured, so a wide range of shares was tried")
    return tuple(found)
