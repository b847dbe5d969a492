"""Hand-written runs of a few testers, and their forecasts."""

from functools import cache
from typing import Any

from rushhour.forecast.answer import forecast
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Production, Scenario
from rushhour.verdict.forecast import Forecast
from rushhour.verdict.judge import judge
from tests.unit import histories
from tests.unit.histories import LIST, OTHER_SITE, SUMMARY, Level, Story

RUSH_HOUR = "rush-hour over 75s"
PUSHED = Production(customers=800, think_time=10.0, day=RUSH_HOUR)
HOLDS = 4  # testers' threads that keep a connection

TARGET: dict[str, Any] = {
    "name": "referrals",
    "command": "gunicorn --threads {threads}",
    "health": "/health",
    "releases": ("1.1", "1.1.1"),
}


def scenario(**changes: Any) -> Scenario:
    load = {"users": 10, "duration": 30.0, "warm_up": 5.0, "think_time": 2.0}
    return histories.testers(**{"target": TARGET, "load": load, "release": "1.1"} | changes)


@cache
def few_testers(
    leak: str = "thread", *, seconds: int = 30, users: int = 10, hold_ms: float = 6.0, threads: int = HOLDS
) -> History:
    """Ten testers, five requests a second; `leak`: "thread", "path" (one in ten) or "none"."""
    story = Story(duration_s=seconds, users=users)
    story.requests(LIST, 2, hold_ms + 4)
    story.requests(SUMMARY, 3, 5)
    taken = 2 * seconds
    lost = {"thread": threads, "path": taken // 10, "none": 0}[leak]
    times = [2.0 + at * (seconds - 4) / max(1, lost) for at in range(lost)]
    story.pool("primary", lambda t: Level(out=0, checkouts=int(3 * t)))
    story.pool(
        "replica",
        lambda t: Level(
            out=sum(at <= t for at in times),
            leaked=sum(at <= t for at in times),
            checkouts=threads if leak == "thread" else int(2 * t),
        ),
    )
    for number, at in enumerate(times, 1):
        thread = number if leak == "thread" else number % 2
        story.checkout(number, at, thread=f"ThreadPoolExecutor-0_{thread}")
    checkouts = lost if leak == "thread" else taken
    story.site(checkouts=checkouts, held_s=0.0 if leak == "thread" else (taken - lost) * hold_ms / 1000)
    story.site(
        checkouts=3 * seconds, held_s=0.002 * 3 * seconds, pool="primary", site=OTHER_SITE, endpoint=SUMMARY
    )
    for server in ("primary", "replica"):
        story.server(server, {"idle": 2}, range(seconds + 2))
    for component, cores in (("primary", 0.01), ("replica", 0.02), ("service", 0.02)):
        story.cpu(component, cores)
        story.add("host", f.HostSample(histories.STARTED_S + 6.5, component, 0.002, 80.0, 3, None))
    return story.history()


def made(
    history: History, production: Production = PUSHED, given: Scenario | None = None, repeats: int = 4
) -> Forecast:
    chosen = given or scenario()
    return forecast(
        "runs/x", chosen, history, judge(chosen, history, "embedded"), production, repeats=repeats
    )
