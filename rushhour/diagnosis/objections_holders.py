"""Objections from where the holders of a full pool were seen, and from what their backends did (pure)."""

from collections.abc import Iterator, Mapping

from rushhour.diagnosis.findings import Confidence
from rushhour.diagnosis.holds import ELSEWHERE, HoldSignals
from rushhour.diagnosis.objection import ENOUGH_LOOKS, HARDLY_ANY, MOST, NEARLY_ALL, Objection
from rushhour.diagnosis.outside import BUSY_CORES
from rushhour.diagnosis.pressure import PressureSignals, without_other_pools
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f


def elsewhere(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a cause in which the holders wait for the server."""
    del history
    holds = signals.holds
    if holds is not None and holds.looks >= ENOUGH_LOOKS and _away(holds) >= MOST:
        away = _away(holds)
        yield Objection(
            "the agent",
            f"{away:.0%} of the looks at holders found them at something else than the server",
            "pool.jsonl doing",
        )


def _away(holds: HoldSignals) -> float:
    """Return the share that waits for no server: who waits for a query over another connection does."""
    queries = holds.share_of_places("other_query", among=ELSEWHERE)
    return holds.elsewhere * (1 - queries) + holds.streaming + holds.sending


def not_seen(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a cause that rests on where the holders were: most of them, or all, were hardly seen."""
    del history
    holds = signals.holds
    if holds is None:
        return
    if holds.unseen >= MOST:
        says = f"{holds.unseen:.0%} of the looks could not find who works with the connection"
        yield Objection("the agent", says, "pool.jsonl doing.unseen")
    if holds.looks < ENOUGH_LOOKS and not holds.holding:
        says = f"{counted(holds.looks, 'look')} at holders, which is too few for a share"
        yield Objection("the agent", says, "pool.jsonl doing", "likely")


def too_short(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a cause that rests on where the holders were: most holds are too short to be looked at."""
    del history
    pressure = signals.pressure
    if pressure is not None and (pressure.short_share or 0.0) >= MOST:
        share = pressure.short_share or 0.0
        says = (
            f"{share:.0%} of the time that connections were out was in holds of a tenth of a second or less"
        )
        yield Objection("the agent", says, "pool.jsonl times.hold_us", refutes=share >= NEARLY_ALL)


def not_streaming(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a cause in which the holders were sending their responses."""
    del history
    holds = signals.holds
    if holds is not None and holds.looks and holds.streaming + holds.sending < MOST:
        says = f"{holds.streaming + holds.sending:.0%} of the looks at holders found a response on its way"
        yield Objection("the agent", says, "pool.jsonl doing.streaming, sending")


def not_in_driver(signals: Signals, history: History) -> Iterator[Objection]:
    del history
    holds = signals.holds
    if holds is not None and holds.looks and holds.driver < MOST:
        yield Objection(
            "the agent",
            f"{holds.driver:.0%} of the looks at holders found them waiting for the server",
            "pool.jsonl doing",
        )


def not_in_queue(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a cause in which the holders queue for another connection."""
    del history
    holds, pressure = signals.holds, signals.pressure
    if holds is None or pressure is None:
        return
    waiting = holds.waiting_for_another
    unseen = holds.looks >= ENOUGH_LOOKS and waiting < HARDLY_ANY
    if holds.looks and waiting < MOST:
        says = f"{waiting:.0%} of {holds.looks:,} looks at holders found them in the queue"
        at_most: Confidence = "possible" if holds.following is None else "likely"
        refutes = unseen and holds.following is None
        yield Objection("the agent", says, "pool.jsonl doing.queue", at_most, refutes)
    if holds.claimed > pressure.capacity:
        says = (
            f"by the time-outs, requests in the queue held {holds.claimed} connections at once, of a pool of "
            f"{pressure.capacity}: most of them held nothing"
        )
        yield Objection("the agent", says, "pool.jsonl timeout.holding, waited_s")


def kept_to_the_end(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a cause in which a holder gives back its connection when its wait for another times out."""
    del history
    pressure = signals.pressure
    if pressure is not None and pressure.timeouts and pressure.left_out >= MOST * pressure.capacity:
        says = (
            f"{pressure.left_out} of {pressure.capacity} connections were still out when the watch ended: "
            "who waits for another one gives back the first when that wait times out"
        )
        yield Objection("the agent", says, "pool.jsonl checkout")


def some_in_queue(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict holders that wait for the world outside: one of them waits for the pool, all the time.

    The others may wait for that one, in a way that is not seen.
    """
    del history
    holds, pressure = signals.holds, signals.pressure
    if holds is None or pressure is None or holds.looks < ENOUGH_LOOKS:
        return
    waiting = holds.waiting_for_another * pressure.capacity  # holders, on average
    if waiting >= MOST:
        says = f"{waiting:.1f} of {pressure.capacity} holders waited for another connection, on average"
        yield Objection("the agent", says, "pool.jsonl doing.queue", "likely")


def waits_inside(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a wait for the world outside: they wait for another thread or task, which was not found."""
    del history
    holds = signals.holds
    if holds is None:
        return
    share = holds.share_of_places("inside", among=ELSEWHERE)
    if share >= MOST:
        says = f"{share:.0%} of those elsewhere waited for another thread or task, and for whose was not seen"
        yield Objection("the agent", says, "pool.jsonl doing.places")


def comes_back_after(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a wait for the world outside: it ends when somebody else's wait in the queue does."""
    del history
    found = None if signals.holds is None else signals.holds.following
    if found is not None:
        says = (
            f"{found.near} of {found.ends} connections came back just after a time-out at {at(found.site)}, "
            f"and {found.share_of_time:.0%} of the time is so soon after one"
        )
        yield Objection("the agent", says, "pool.jsonl timeout.t_s, checkout.returned_s")


def tasks_in_queue(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a wait for the world outside: holders may look again and again for what these have done."""
    del history
    holds = signals.holds
    if holds is None:
        return
    if holds.beside >= HARDLY_ANY:
        where = f" at {at(holds.beside_at)}" if holds.beside_at is not None else ""
        says = (
            f"for {holds.beside:.0%} of the time of its connections a task that the holder's request had "
            f"started waited for one{where}, in vain"
        )
        yield Objection("the agent", says, "pool.jsonl timeout.beside")
    if holds.unasked >= MOST:
        where = f" at {at(holds.unasked_at)}" if holds.unasked_at is not None else ""
        says = (
            f"{holds.unasked:.1f} tasks, threads or requests that no customer is known to have asked for "
            f"waited for a connection{where} on average, in vain: holders may wait for what these do"
        )
        yield Objection("the agent", says, "pool.jsonl timeout.requested, endpoint")


def no_request(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a wait for the world outside: a response may be on its way, for all that is known."""
    pressure = signals.pressure
    if pressure is None:
        return
    out = [
        one
        for one in history.checkouts
        if (one.pid, one.pool) == (pressure.pid, pressure.pool) and one.by_task
    ]
    if out and sum(one.endpoint is None for one in out) >= MOST * len(out):
        says = "no request of most of these tasks is known, so their responses may have been on their way"
        yield Objection("the agent", says, "pool.jsonl checkout.endpoint", "likely")


def asks_again(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a wait for the world outside: holders may try again and again for a lock on the server."""
    del history
    holds = signals.holds
    if holds is not None and holds.may_try_again:
        says = (
            f"{holds.asked_again:.0%} of the backends that idled had been asked again lately: holders may "
            "wait for what another request has there, as a lock that they try with NOWAIT"
        )
        yield Objection("the servers", says, "postgres.jsonl backends.state_s, pool.jsonl checkout.taken_s")


def late_holders(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that nobody waits for a second connection: most of those turned away held one."""
    del history
    holds = signals.holds
    if holds is not None and holds.timeouts and holds.holding >= MOST * holds.timeouts:
        says = f"{holds.holding} of {counted(holds.timeouts, 'time-out')} hit requests that held a connection"
        yield Objection("the agent", says, "pool.jsonl timeout.holding", "likely")


def runs_code(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a wait: most of those elsewhere run Python code, and the service has no CPU for it."""
    del history
    holds, cores = signals.holds, signals.metrics.service_cpu_cores_mean
    share = 0.0 if holds is None else holds.share_of_places("computes", among=ELSEWHERE)
    if share >= MOST and (cores is None or cores < BUSY_CORES):
        used = "how much CPU the service used is not known" if cores is None else f"with {cores:.1f} cores"
        says = f"{share:.0%} of those elsewhere ran Python code, {used}: they may wait for CPU"
        yield Objection("the agent", says, "pool.jsonl doing.places, host.jsonl cpu_cores", "likely")


def late_answers(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a wait for the world outside: holders wait for the server far longer than it works.

    Its answers come, or are read, late, as without CPU: little is known of what they would wait for with it.
    """
    del history
    holds = signals.holds
    if holds is not None and holds.late:
        says = (
            f"{holds.driver:.0%} of the looks at holders found them waiting for the server, which ran their "
            f"queries for {holds.worked:.0%} of the time: answers came, or were read, late"
        )
        at_most: Confidence = "likely" if holds.elsewhere >= MOST else "possible"
        yield Objection("the servers", says, "pool.jsonl doing.driver, postgres.jsonl states", at_most)


def busy_server(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a cause in which the holders wait for anything but the server."""
    holds, pressure = signals.holds, signals.pressure
    if holds is None or pressure is None:
        return
    if holds.server_active is not None:
        if holds.server_active >= MOST:
            says = f"{holds.server_active:.0%} of the backends of these connections ran a query"
            source = "postgres.jsonl backends joined with pool.jsonl checkout.server_pid"
            yield Objection("the servers", says, source, refutes=holds.server_active >= NEARLY_ALL)
        return
    capacities = {
        sample.pid: sample.capacity or 0 for sample in history.pools if sample.pool == pressure.pool
    }
    active = [states.get("active", 0) for states in _states_while_full(history, pressure)]
    total = sum(capacities.values())
    share = sum(active) / len(active) / total if active and total else 0.0
    if share >= MOST:
        says = f"{sum(active) / len(active):.1f} backends ran a query, on average, of {total} connections"
        yield Objection("the servers", says, "postgres.jsonl states", refutes=share >= NEARLY_ALL)


def _states_while_full(history: History, pressure: PressureSignals) -> list[Mapping[str, int]]:
    """Return how many backends of the pool's server were in each state, in each sample that it answered."""
    samples = [
        sample
        for sample in history.servers
        if sample.server == f.server_of(pressure.pool)
        and sample.error is None
        and pressure.from_s <= sample.t_s <= pressure.to_s
    ]
    return [sample.states for sample in without_other_pools(history, pressure.pool, samples)]


def idle_server(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a cause in which the backends are busy; it is out where nobody else saw anything at work."""
    del history
    pressure, holds = signals.pressure, signals.holds
    if pressure is not None and pressure.active_share is not None and pressure.active_share < MOST:
        short = (pressure.short_share or 0.0) >= MOST  # they come back so soon that they are at work
        unseen = holds is not None and holds.unseen >= MOST and not short
        says = f"{pressure.active_share:.0%} of the backends in a transaction ran a query"
        if unseen and holds is not None:
            says += f", and {holds.unseen:.0%} of the looks could not find who works with the connection"
        refutes = unseen and pressure.active_share <= 1 - NEARLY_ALL
        yield Objection("the servers", says, "postgres.jsonl states", refutes=refutes)


def few_backends(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict connections at work: holders wait for the server, which has far fewer at work.

    The others wait on the way to it: in a pooler such as pgbouncer, a proxy, or the network. Where too few
    holders were looked at, all that are out should be at work.
    """
    holds, pressure = signals.holds, signals.pressure
    if pressure is None:
        return
    looked = holds is not None and holds.looks >= ENOUGH_LOOKS
    if holds is not None and looked and holds.driver < MOST:
        return
    driver = holds.driver if holds is not None and looked else pressure.busy_share
    seen = [states for states in _states_while_full(history, pressure) if states]
    if not seen:
        return
    work = sum(count for states in seen for state, count in states.items() if state != "idle") / len(seen)
    if work >= MOST * driver * pressure.capacity:
        return
    says = f"{work:.1f} of its backends were at work, on average, while "
    if looked:
        says += (
            f"{driver:.0%} of {pressure.capacity} holders waited for it: the others waited on the way, as in "
            "a pooler"
        )
    else:
        says += f"{driver * pressure.capacity:.0f} connections were held"
    yield Objection("the servers", says, "postgres.jsonl states", "possible" if looked else "likely")


def being_opened(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a cause that rests on what holders do: nobody has most of the connections in hand."""
    del history
    pressure = signals.pressure
    if pressure is not None and pressure.connecting_share >= MOST:
        says = f"{pressure.connecting_share:.0%} of the connections out were being opened, tested or reset"
        yield Objection("the agent", says, "pool.jsonl sample.checked_out, live")


def unwitnessed(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict connections at work: neither the agent nor the server saw them work."""
    del history
    holds, pressure = signals.holds, signals.pressure
    if pressure is None or pressure.active_share is not None:
        return
    seen = 0.0 if holds is None or not holds.looks else 1.0 - holds.unseen
    short = pressure.short_share or 0.0  # they come back so soon that they are at work
    if seen < MOST and short < MOST:
        says = f"{seen:.0%} of the looks at holders found what they do, and no backend was in a transaction"
        yield Objection("the agent", says, "pool.jsonl doing, postgres.jsonl", "likely")


def left_out(signals: Signals, history: History) -> Iterator[Objection]:
    del history
    if signals.pressure is not None and signals.pressure.left_out:
        says = f"{counted(signals.pressure.left_out, 'connection')} did not come back after the load"
        yield Objection("the agent", says, "pool.jsonl checkout")
