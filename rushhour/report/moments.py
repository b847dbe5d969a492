"""Collects the moments that the timeline marks and the spans that it shades."""

from typing import Any, Final

from rushhour.report.series import Moment, Tone
from rushhour.rundir import History
from rushhour.rundir import facts as f

_PLAIN: Final[tuple[tuple[str, str, Tone], ...]] = (
    (f.WARMUP_ENDED, "warm-up ended", "grey"),
    (f.LOAD_ENDED, "load ended", "grey"),
    (f.HOTFIX_BEGAN, "hotfix", "green"),
    (f.HOTFIX_ENDED, "roll-out ended", "green"),
    (f.INTERRUPTED, "interrupted", "red"),
    (f.STACK_BROKE, "stack broke", "red"),
)
_DONE: Final = {
    "pause": "paused",
    "unpause": "goes on",
    "stop": "stopped",
    "kill": "killed",
    "start": "started again",
}


def moments(history: History, zero: float) -> tuple[Moment, ...]:
    """Return the moments of a run in order; `zero` is the start of the load, in seconds since the anchor."""
    found: list[Moment] = []
    for name, label, tone in _PLAIN:
        event = history.event(name)
        if event is not None:
            found.append(Moment(event.t_s - zero, label, _words(event.detail), tone))
    found += _full_pools(history, zero)
    found += _first_timeout(history, zero)
    found += [
        Moment(event.t_s - zero, _fault(event), "as the scenario asks", "purple")
        for event in history.events
        if event.name == f.FAULT
    ]
    leak = history.event(f.LEAK_DETECTED)
    if leak is not None:
        site = _site(leak.detail.get("site"))
        pool = leak.detail.get("pool", "")
        found.append(Moment(leak.t_s - zero, "leak detected", f"pool {pool} {site}".strip(), "red"))
    saturated = history.event(f.SATURATION_DETECTED)
    if saturated is not None:
        pool, waiting = saturated.detail.get("pool", "?"), saturated.detail.get("waiting", "?")
        detail = f"pool {pool}, {waiting} waiting"
        found.append(Moment(saturated.t_s - zero, "saturation detected", detail, "red"))
    found += _first_pages(history, zero)
    return tuple(sorted(found, key=lambda moment: moment.t_s))


def shaded(history: History, zero: float, end: float) -> tuple[tuple[float, float, str], ...]:
    """Return spans that thresholds ignore: (from, to, label), in seconds since the load started."""
    spans = []
    warm = history.time_of(f.WARMUP_ENDED)
    if warm is not None and warm > zero:
        spans.append((0.0, warm - zero, "warm-up"))
    stopped = history.time_of(f.LOAD_ENDED)
    if stopped is not None and zero + end > stopped:
        spans.append((stopped - zero, end, "after the load"))
    return tuple(spans)


def _full_pools(history: History, zero: float) -> list[Moment]:
    """Return when each pool was first full: from live events, else from samples."""
    full: dict[str, Moment] = {}
    for event in history.events:
        if event.name == f.POOL_FULL:
            pool = str(event.detail.get("pool", "?"))
            detail = f"{event.detail.get('checked_out', '?')} of {event.detail.get('capacity', '?')} in use"
            leaked = event.detail.get("leaked")
            detail += f", {leaked} leaked" if leaked else ""
            full.setdefault(pool, Moment(event.t_s - zero, f"pool {pool} full", detail, "red"))
    for sample in history.pools:
        if sample.pool not in full and sample.capacity and sample.checked_out >= sample.capacity:
            detail = f"{sample.checked_out} of {sample.capacity} in use, {sample.leaked} leaked"
            full[sample.pool] = Moment(sample.t_s - zero, f"pool {sample.pool} full", detail, "red")
    return list(full.values())


def _first_timeout(history: History, zero: float) -> list[Moment]:
    event = history.event(f.FIRST_TIMEOUT)
    if event is not None:
        detail = f"{event.detail.get('endpoint') or ''} on pool {event.detail.get('pool', '?')}".strip()
        return [Moment(event.t_s - zero, "first time-out", detail, "red")]
    if history.pool_timeouts:
        first = min(history.pool_timeouts, key=lambda timeout: timeout.t_s)
        detail = f"{first.endpoint or ''} on pool {first.pool} after {first.waited_s:.1f} s".strip()
        return [Moment(first.t_s - zero, "first time-out", detail, "red")]
    return []


def _first_pages(history: History, zero: float) -> list[Moment]:
    """Return the first real page of each policy."""
    anchor = history.event(f.ANCHOR)
    if anchor is None:
        return []
    first: dict[str, Moment] = {}
    for page in history.notifications:
        t_s = page.monotonic_s - float(anchor.detail["monotonic_s"])
        alerts = ", ".join(sorted({alert.labels.get("alertname", "?") for alert in page.alerts}))
        first.setdefault(page.policy, Moment(t_s - zero, f"real page of {page.policy}", alerts, "purple"))
    return list(first.values())


def _fault(event: f.Event) -> str:
    return f"{event.detail.get('server', 'server')} {_DONE.get(str(event.detail.get('do')), 'made to fail')}"


def _site(site: Any) -> str:
    if isinstance(site, dict):
        return f"at {site.get('file')}:{site.get('line')} {site.get('function', '')}".strip()
    return f"at {site}" if site else ""


def _words(detail: Any) -> str:
    if not isinstance(detail, dict):
        return ""
    return ", ".join(
        f"{key.replace('_', ' ')} {value}"
        for key, value in detail.items()
        if isinstance(value, (str, int, float))
    )
