"""How fast the hotfix worked, out of a run's history (pure)."""

from collections.abc import Iterable
from typing import Final

from rushhour.jobs.drill.facts import Figures
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.rundir.facts import Rollout

CPU_WINDOW_S: Final = 8.0
TAIL_S: Final = 5.0  # the old task ends within this long after the roll-out's last state


def figures_of(history: History, rollout: Rollout, ended_s: float) -> Figures:
    """Compute the figures; `ended_s` is when the load was asked to stop, in seconds since the anchor."""
    began = rollout.began_s
    rows = [row for row in history.requests if row.t_s + 1 <= ended_s]
    failing = [row.t_s for row in rows if row.outcome in f.SERVER_ERRORS]
    timeouts = [timeout.t_s for timeout in history.pool_timeouts if timeout.t_s <= ended_s]
    last_5xx = max(failing, default=None)
    quiet_from = began if last_5xx is None else max(began, last_5xx + 1.0)
    quiet = [row for row in rows if row.t_s >= quiet_from]
    during = [row for row in rows if began - 1 < row.t_s <= rollout.ended_s + TAIL_S]
    return Figures(
        timeouts_before=sum(t_s <= began for t_s in timeouts),
        http_5xx_before=_count(row for row in rows if row.t_s < began and row.outcome in f.SERVER_ERRORS),
        last_timeout_s=_after(began, max(timeouts, default=None)),
        http_5xx_zero_s=round(quiet_from - began, 2) if quiet else None,
        drained_s=_drained(history.pools, began, ended_s),
        rollout_s=round(rollout.ended_s - began, 2),
        requests_in_rollout=_count(during),
        lost_in_rollout=_count(row for row in during if row.outcome in f.FAILURES - f.SERVER_ERRORS),
        http_5xx_in_rollout=_count(row for row in during if row.outcome in f.SERVER_ERRORS),
        quiet_s=round(max(0.0, max((row.t_s + 1.0 for row in quiet), default=quiet_from) - quiet_from), 2),
        requests_quiet=_count(quiet),
        silent_s=round(ended_s - max((row.t_s + 1.0 for row in rows), default=began), 2),
        replica_cores_before=_cores(history.host, began - CPU_WINDOW_S, began),
        replica_cores_after=_cores(history.host, ended_s - CPU_WINDOW_S, ended_s),
        since_5xx_s=None if last_5xx is None else round(ended_s - last_5xx - 1.0, 2),
        since_leak_s=_since_leak(history.pools, ended_s),
    )


def _count(rows: Iterable[f.RequestCount]) -> int:
    return sum(row.count for row in rows)


def _after(began_s: float, t_s: float | None) -> float | None:
    return None if t_s is None else round(max(0.0, t_s - began_s), 2)


def _drained(samples: Iterable[f.PoolSample], began_s: float, ended_s: float) -> float | None:
    """Return when the last sample with a leaked connection was taken; None when it still is so."""
    seen = [sample for sample in samples if began_s <= sample.t_s <= ended_s]
    if not seen:
        return None
    last = max((sample.t_s for sample in seen if sample.leaked), default=began_s)
    return None if last >= max(sample.t_s for sample in seen) - 0.5 else round(last - began_s, 2)


def _since_leak(samples: Iterable[f.PoolSample], ended_s: float) -> float | None:
    leaks = [sample.t_s for sample in samples if sample.leaked and sample.t_s <= ended_s]
    return round(ended_s - max(leaks), 2) if leaks else None


def _cores(samples: Iterable[f.HostSample], start_s: float, end_s: float) -> float | None:
    found = [
        sample.cpu_cores
        for sample in samples
        if sample.component == "replica" and start_s <= sample.t_s <= end_s
    ]
    return round(sum(found) / len(found), 3) if found else None
