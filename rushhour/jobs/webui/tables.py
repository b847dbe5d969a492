"""What is known now -> the tables of Locust's page, and a point of the live charts (pure)."""

from typing import Any, Final

from rushhour.jobs.webui.messages import View
from rushhour.report.words import UNKNOWN

POOL: Final = "pool"
HOLDERS: Final = "holders"
RUNS: Final = "runs"

TABS: Final = [
    {"title": "Pool", "key": POOL},
    {"title": "Pool holders", "key": HOLDERS},
    {"title": "Verdicts", "key": RUNS},
]


def _columns(**titles: str) -> list[dict[str, str]]:
    return [{"key": key, "title": title} for key, title in titles.items()]


TABLES: Final = [
    {
        "key": POOL,
        "structure": _columns(
            name="Pool",
            used="In use",
            capacity="Capacity",
            share="Used",
            waiters="Waiting",
            leaked="Leaked",
            timeouts="Time-outs",
        ),
    },
    {
        "key": HOLDERS,
        "structure": _columns(
            name="Call site",
            pool="Pool",
            endpoint="Endpoint",
            out="Out",
            leaked="Leaked",
            oldest="Oldest (s)",
            checkouts="Check-outs",
            held="Held (connection-s)",
        ),
    },
    {
        "key": RUNS,
        "structure": _columns(
            name="Run", scenario="Scenario", release="Release", verdict="Verdict", why="Why"
        ),
    },
]


def tables(view: View) -> list[dict[str, Any]]:
    """Return rows for Locust's `extended_stats`."""
    state = view.state
    pools = [
        {
            "name": pool.pool,
            "used": pool.checked_out,
            "capacity": "no limit" if pool.capacity is None else pool.capacity,
            "share": f"{100 * pool.checked_out / pool.capacity:.0f} %" if pool.capacity else UNKNOWN,
            "waiters": pool.waiting,
            "leaked": pool.leaked,
            "timeouts": pool.timeouts,
        }
        for pool in (state.pools if state else ())
    ]
    holders = [
        {
            "name": holder.site,
            "pool": holder.pool,
            "endpoint": holder.endpoint or "outside a request",
            "out": holder.out,
            "leaked": holder.leaked,
            "oldest": holder.oldest_s,
            "checkouts": holder.checkouts,
            "held": holder.held_s,
        }
        for holder in (state.holders if state else ())
    ]
    runs = [
        {
            "name": run.name,
            "scenario": run.scenario,
            "release": run.release,
            "verdict": run.verdict,
            "why": run.line,
        }
        for run in view.runs
    ]
    return [{"key": POOL, "data": pools}, {"key": HOLDERS, "data": holders}, {"key": RUNS, "data": runs}]


def point(view: View) -> dict[str, Any] | None:
    """One second of the live charts; None while there is nothing to draw."""
    state = view.state
    if state is None or view.phase not in ("running", "draining"):
        return None
    return {
        "t": round(state.elapsed_s, 1),
        "users": state.users,
        "rps": state.rps,
        "errors": state.server_errors_per_s,
        "cpu": {name: state.cpu_cores[name] for name in ("primary", "replica") if name in state.cpu_cores},
        "limits": {
            name: state.cpu_limits[name] for name in ("primary", "replica") if name in state.cpu_limits
        },
        "pools": {
            pool.pool: [pool.checked_out, pool.capacity, pool.waiting, pool.leaked] for pool in state.pools
        },
    }
