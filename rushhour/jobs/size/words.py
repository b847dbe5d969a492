"""Says why a size is recommended (pure)."""

import math
from collections.abc import Sequence
from typing import Final

from rushhour.forecast.activity import activity_of
from rushhour.forecast.demand import ANY, Demand, PoolDemand
from rushhour.forecast.interval import Estimate
from rushhour.forecast.limits import ServerLimit
from rushhour.forecast.queueing import PoolPrediction, Setting, expected_requests_per_s
from rushhour.jobs.size.sizes import PoolSize
from rushhour.metrics.wording import counted
from rushhour.rundir.facts import server_of

JOBS_SHOWN: Final = 0.05  # connections of jobs that are told
SAME_REQUESTS: Final = 0.1  # a process has as many as in the run
MUCH_TOO_LARGE: Final = 2.0  # times what is enough
SHOWN_S: Final = 0.001  # waits of the run that are told


def processes_in_words(setting: Setting) -> str:
    """Format the processes: `1 process`, `4 processes`, `12 instances of 4 processes`."""
    each = counted(setting.processes, "process").replace("processs", "processes")
    return each if setting.instances == 1 else f"{counted(setting.instances, 'instance')} of {each}"


def reasons_of(
    size: PoolSize, demand: Demand, setting: Setting, limit: ServerLimit | None, *, waits_in_bursts: bool
) -> Sequence[str]:
    """Return the reasons for a size, or those for none; `limit`: of the connections of its server."""
    pool, least = size.demand, size.enough
    if least is None or size.max_overflow is None:
        return size.beyond
    found = [_why(size, setting, least)]
    if waits_in_bursts:
        found.append(_together_words(size, demand, least))
    found += _jobs_words(pool, demand, setting)
    current = pool.capacity
    if not pool.shape_known:
        found.append("how large it is now in each process, the metrics do not say")
    elif current is None:
        found.append(f"it has no limit now: up to {least} connections are needed, and nothing bounds a leak")
    elif current >= MUCH_TOO_LARGE * least:
        found.append(f"the {current} it has are {current / least:.1f} times what it needs")
    elif current < least:
        found.append(f"the {current} it has are too few by {least - current}")
    most = max(least + size.max_overflow, current or 0)
    if size.usable is not None and size.usable <= most:
        found.append(
            f"a process of {setting.threads} threads uses at most {size.usable} connections: more of them "
            "are never opened"
        )
    if limit is not None:
        found += _server_reasons(size, setting, limit, least + size.max_overflow)
    return found


def too_many_words(needed: int, most: int) -> str:
    """Say that no pool of a process can be as large as it had to be."""
    return (
        f"a process would have up to {needed:,} connections out at once without a limit, and waits with "
        f"{most:,}, the largest pool that is looked at: more processes or instances would make sense, or "
        "shorter holds"
    )


def _why(size: PoolSize, setting: Setting, least: int) -> str:
    by_capacity = {row.capacity: row for row in size.rows}
    figures = by_capacity[least].calm
    one = setting.processes * setting.instances == 1
    here, there, all_of = ("", "", "") if one else (" in each process", " there", "all ")
    text = (
        f"{counted(least, 'connection')} {'is' if least == 1 else 'are'} enough{here}: "
        f"{figures.in_use_mean.value:.1f} are in use{there} on average, and the slowest hundredth of "
        f"{all_of}{figures.checkouts_per_s.value:.0f} check-outs a second waits for at most "
        f"{figures.wait_p99_s.high * 1e3:.0f} ms"
    )
    fewer = [row for row in size.rows if row.capacity < least]
    if fewer:
        less, shown = fewer[-1].capacity, fewer[-1].calm
        share = f"{shown.waits_share.value:.0%}"
        text += f"; with {less}, {share} would wait, the slowest hundredth for {_span(shown)}"
    if size.demand.standing:
        text += f"; {size.demand.standing} of them are out all the time, for no request"
    return f"{text}; the overflow is a reserve for what was not measured" if size.max_overflow else text


def _jobs_words(pool: PoolDemand, demand: Demand, setting: Setting) -> list[str]:
    """Say what is assumed of check-outs of no request where a process gets more or fewer requests."""
    names = {endpoint.name for endpoint in demand.endpoints}
    if names == {ANY}:  # nothing says which are of requests
        return []
    ran = demand.processes * demand.instances
    out = sum(site.checkouts_per_s * site.hold_s for site in pool.sites if site.endpoint not in names) / ran
    per_s = expected_requests_per_s(demand, setting) / (setting.processes * setting.instances)
    share = per_s / (demand.requests_per_s / ran)
    if out < JOBS_SHOWN or abs(share - 1.0) < SAME_REQUESTS:
        return []
    differ = math.ceil(out * abs(1.0 - share))
    text = (
        f"{out:.1f} connections of a process were out for no request on average, as those of jobs; with "
        f"{share:.2g} times the requests of the run they are taken to be {out * share:.1f}. If they do not "
        f"depend on the customers, {differ} {'more' if share < 1 else 'fewer'} connections are needed"
    )
    return [text]


def _together_words(size: PoolSize, demand: Demand, least: int) -> str:
    """Say what happens where customers act together."""
    by_capacity = {row.capacity: row.figures for row in size.rows}
    text = (
        f"that is while customers act each for themselves. In some seconds they acted together, with up to "
        f"{max(activity_of(demand)):.1f} times as many requests: counting those, the slowest hundredth waits "
        f"for {_span(by_capacity[least])} with {least}"
    )
    waited_s = size.demand.waited_p99_s
    if waited_s and waited_s[1] >= SHOWN_S:
        text += f" (in the run, with {size.demand.capacity}, for {waits_in_words(waited_s)})"
    text += "; a pool without a limit would serve them hardly earlier"
    server = server_of(size.pool)
    if size.demand.cpu_s and server in demand.cores:
        text += f", for the {server}'s {demand.cores[server]:.3g} cores are what they wait for"
    return text


def waits_in_words(bounds_s: tuple[float, float]) -> str:
    """Say the bounds of a wait: `262 to 524 ms`."""
    if bounds_s[1] < SHOWN_S:
        return "less than 1 ms"
    return f"{bounds_s[0] * 1e3:.0f} to {bounds_s[1] * 1e3:.0f} ms"


def unlike_words(demand: Demand, waited_s: tuple[float, float], expected: Estimate) -> str:
    """Say that the measured waits and those of the model contradict each other, and what to do."""
    whose = "the run's" if demand.seconds else "production's"
    measured = f"the slowest hundredth of {whose} check-outs waited for {waits_in_words(waited_s)}"
    why = "as when a request holds several connections" if demand.seconds else "or --over is another time"
    if waited_s[0] < expected.low:
        return (
            f"{measured}, and by their holds and requests they would have waited for at least "
            f"{expected.low * 1e3:.0f} ms: the model does not fit, {why}; no size follows from it"
        )
    others, what = (
        ("a machine without CPU to spare", "run it again, alone on the machine")
        if demand.seconds
        else ("bursts, or hours with more traffic than the mean", "name two texts of one hour, or size a run")
    )
    return (
        f"{measured}, and by their holds and requests they would have waited for at most "
        f"{expected.high * 1e3:.0f} ms: something else made them wait, such as {others}; {what}"
    )


def _span(figures: PoolPrediction) -> str:
    low, high = f"{figures.wait_p99_s.low * 1e3:.0f}", f"{figures.wait_p99_s.high * 1e3:.0f}"
    return f"{high} ms" if low == high else f"{low} to {high} ms"


def _server_reasons(size: PoolSize, setting: Setting, limit: ServerLimit, capacity: int) -> list[str]:
    processes = setting.processes * setting.instances
    usable = limit.usable
    server = server_of(size.pool)
    who = processes_in_words(setting)
    found = []
    current = size.demand.capacity
    if current is not None and size.opened(current) * processes > usable:
        found.append(
            f"{who} with the {current} connections of now would open {size.opened(current) * processes:,}, "
            f"more than the {usable} that max_connections {limit.max_connections} of {server} leaves (it "
            f"keeps {limit.reserved} for superusers)"
        )
    if capacity * processes > usable:
        fit = (
            f"at most {usable // processes} fit in each" if usable >= processes else "not even 1 fits in each"
        )
        found.append(
            f"even {capacity} connections in each of {who} are {capacity * processes:,}, more than {usable}: "
            f"{fit}. All processes together use {size.together} connections at once at most"
            f"{_pooler(size, usable)}"
        )
    else:
        found.append(
            f"{who}: at most {capacity * processes:,} of the {usable} connections of {server} are opened"
        )
    return found


def _pooler(size: PoolSize, usable: int) -> str:
    """Say what a pooler in front of the server would change."""
    where = "put PgBouncer in transaction mode between service and server, with a pool of"
    if size.together is None or size.together <= usable:
        return f": {where} {size.together}, or run fewer processes with more threads"
    return (
        f", more than the server allows, too. Either {where} at most {usable}, in which check-outs wait for "
        "each other at the peak, or raise max_connections, or keep customers from acting at once"
    )


def shared_server(sizes: Sequence[PoolSize], setting: Setting, server: str, limit: ServerLimit) -> str | None:
    """Return the words for pools that exceed the limit of their server together, but not each by itself."""
    processes = setting.processes * setting.instances
    usable = limit.usable
    each = [(size.pool_size or 0) + (size.max_overflow or 0) for size in sizes]
    if len(sizes) < 2 or sum(each) * processes <= usable or max(each) * processes > usable:
        return None
    names = ", ".join(size.pool for size in sizes)
    return (
        f"the pools {names} share {server}: together they may open {sum(each) * processes:,} connections in "
        f"{processes_in_words(setting)}, more than the {usable} that max_connections {limit.max_connections} "
        "leaves"
    )
