"""Words findings: lines as they happen, and a summary at the end (pure)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rushhour.diagnosis.units import JOB, after_what, most_of
from rushhour.diagnosis.unlimited import what_it_means
from rushhour.jobs.attach.findings import Findings, Held, Place, Waits
from rushhour.metrics.pools import PoolUse
from rushhour.metrics.wording import counted, counted_were, most_out

_HOW: Final[Mapping[str, str]] = {
    "close": "closed",
    "gc": "collected as garbage",
    "detach": "detached",
    "invalidate": "invalidated",
    "process-ended": "never came back before the process ended",
}
PATCHING: Final = "patching sqlalchemy"  # as agent/start.py says where it failed


class News:
    """Describes each finding when it is new, and again when its count has grown tenfold."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._reported: dict[object, int] = {}

    def lines(self) -> Iterator[str]:
        """Yield a line for each finding that is new, or has grown tenfold."""
        findings = self._findings
        for pool in findings.pools():
            if self._is_news(("pool", pool.pool, pool.kind), 1):
                yield f"sees {in_words(findings.libraries())}; {describe_pool(pool)}"
        for held in findings.held():
            if held.leaked and self._is_news(("leak", held.place), held.leaked):
                yield f"LEAK  {leak_line(held)}"
            elif held.long and self._is_news(("long", held.place), held.long):
                yield f"long hold  {hold_line(held)}"
        for name, waits in findings.timeouts.items():
            if self._is_news(("timeout", name), waits.count):
                yield f"TIME-OUT  {timeout_line(name, waits)}"
        for fault in findings.faults:
            if self._is_news(("fault", fault.where, fault.error), 1):
                yield f"the agent in process {fault.pid}: {fault.where}: {fault.error}"

    def _is_news(self, key: object, count: int) -> bool:
        reported = self._reported.get(key, 0)
        if reported and count < 10 * reported:
            return False
        self._reported[key] = count
        return True


def summary(findings: Findings) -> list[str]:
    """Return the summary, worst findings first; its first line is the verdict in words."""
    if not findings.processes:
        return [
            "the agent started in no process, so nothing was seen",
            "it starts by PYTHONPATH in CPython 3.11 or newer: is the command Python, without -I, -E or -S?",
        ]
    pools = findings.pools()
    if not pools:
        return [_no_pool(findings)]
    lines = [_verdict(findings), f"seen  {in_words(findings.libraries())}, {_processes(findings)}"]
    lines += [f"pool  {describe_pool(pool)}; {use_of_pool(pool)}" for pool in pools]
    lines += [f"LEAK  {leak_line(held)}" for held in findings.held() if held.leaked]
    lines += [f"long hold  {hold_line(held)}" for held in findings.held() if held.long and not held.leaked]
    lines += [f"out  {out_line(place, count)}" for place, count in findings.left_at_exit().items()]
    lines += [f"TIME-OUT  {timeout_line(name, waits)}" for name, waits in findings.timeouts.items()]
    return lines


def _verdict(findings: Findings) -> str:
    leaks, timeouts = findings.leaks, sum(waits.count for waits in findings.timeouts.values())
    if not findings.checkouts and not timeouts:
        return "no connection was taken from a pool, so nothing is known about leaks: was the service used?"
    if not leaks and not timeouts:
        out = findings.out_at_end
        if out:
            were = counted_were(out, "connection")
            return f"no leak was seen, but {were} still out when the process ended: it may have been at work"
        unseen = unseen_end(findings)
        return f"no leak was seen, but {unseen}" if unseen else "every connection came back"
    parts = [f"{leaks} connection{'s' * (leaks != 1)} leaked"] if leaks else []
    parts += [f"{timeouts} pool time-out{'s' * (timeouts != 1)}"] if timeouts else []
    return ", ".join(parts)


def unseen_end(findings: Findings) -> str:
    """Return what was not seen of processes that were killed; empty where none was."""
    if not findings.killed:
        return ""
    were = counted_were(findings.killed, "process")
    return f"{were} killed, and the last tenth of a second of each was not seen"


def _no_pool(findings: Findings) -> str:
    versions = dict(findings.libraries())
    for fault in findings.faults:
        if fault.where == PATCHING:
            return f"nothing was seen, for the agent cannot watch this SQLAlchemy: {fault.error}"
    if "SQLAlchemy" in versions:
        return (
            f"SQLAlchemy {versions['SQLAlchemy']} was imported, and no pool was seen: no engine was made, or "
            "its process was killed right afterwards, before the agent wrote of it"
        )
    return (
        f"no process imported SQLAlchemy ({_processes(findings)}, {in_words(findings.libraries())}): "
        "the agent watches no other pools"
    )


def _processes(findings: Findings) -> str:
    count = len(findings.processes)
    return f"{count} process{'es' * (count != 1)}"


def in_words(libraries: Iterator[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in libraries)


def describe_pool(pool: PoolUse) -> str:
    """Describe a pool: `127.0.0.1:5432/shop: QueuePool of 5 + 10, time-out 30 s`, and what no limit means."""
    if pool.capacity is not None:
        return f"{pool.pool}: {pool.kind} of {pool.size} + {pool.max_overflow}, time-out {pool.timeout_s:g} s"
    return f"{pool.pool}: {what_it_means(pool.kind)}"


def use_of_pool(pool: PoolUse) -> str:
    """Describe the use of a pool: most connections out, waiters, check-outs."""
    out = most_out(pool.checked_out_max, pool.capacity, pool.processes)
    waited = f", {pool.waiting_max} waiting" if pool.waiting_max else ""
    return f"{out}{waited}, {counted(pool.checkouts, 'check-out')}"


def leak_line(held: Held) -> str:
    """Describe a leak: the line, its endpoint, how many connections, and how they came back."""
    back = [f"{count} {_HOW.get(how, how)}" for how, count in held.returned_by.most_common()]
    if held.still_out:
        back.insert(0, f"{held.still_out} still out")
    outlived = _outlived(held)
    return (
        f"{held.place.site.file}:{held.place.site.line} {held.place.site.function}{_for(held)}: "
        f"{held.leaked} of pool {held.place.pool} {outlived}, longest {held.longest_s:.1f} s "
        f"({', '.join(back)})"
    )


def _outlived(held: Held) -> str:
    """Return what ended while the connections were out."""
    if not held.outlived:
        return "not closed by anyone"
    unit = most_of(held.units.elements())
    kept = ", kept by threads that wait for the next one" if unit == JOB else ""
    return f"out {after_what(unit, 2)}{kept}"


def hold_line(held: Held) -> str:
    """Describe long holds of a line."""
    return (
        f"{held.place.site.file}:{held.place.site.line} {held.place.site.function}{_for(held)}: "
        f"{held.long} of pool {held.place.pool} held for up to {held.longest_s:.1f} s"
    )


def out_line(place: Place, count: int) -> str:
    """Describe connections of a line that were out when the process ended."""
    where = f"{place.site.file}:{place.site.line} {place.site.function}"
    where += f" for {place.endpoint}" if place.endpoint else ""
    return f"{where}: {count} of pool {place.pool} still out when the process ended"


def _for(held: Held) -> str:
    return f" for {held.place.endpoint}" if held.place.endpoint else ""


def timeout_line(pool: str, waits: Waits) -> str:
    """Describe time-outs of a pool: how many, and where they were raised."""
    (site, endpoint), count = waits.sites.most_common(1)[0]
    where = f"{site.file}:{site.line} {site.function}" + (f" for {endpoint}" if endpoint else "")
    often = f", {count} of them" if count != waits.count else ""
    return f"pool {pool}: {waits.count} after up to {waits.longest_s:.1f} s, raised at {where}{often}"


def prefixed(lines: Sequence[str]) -> list[str]:
    """Return lines as they are written beside the command's own output."""
    return [f"rushhour: {line}" for line in lines]
