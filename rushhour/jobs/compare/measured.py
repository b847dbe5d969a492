"""A run directory -> what each of its measured seconds held."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rushhour.errors import RunDataError
from rushhour.judging.judge import judge_history, read_scenario
from rushhour.judging.saved import read_verdict
from rushhour.metrics.latency_counts import bucket_counts
from rushhour.metrics.requests import NO_WAIT, UNANSWERED
from rushhour.metrics.window import Window, find_window
from rushhour.rundir import RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict
from rushhour.verdict.lost import lost_everything, lost_parts

MOST_SECONDS: Final = 100_000  # more than a day


@dataclass(slots=True)
class Second:
    """Requests that ended in one second; `latency` counts answers by bucket of latency_counts.py."""

    requests: int = 0
    answered: int = 0  # as achieved_rps counts: 2xx and 3xx within the load
    server_errors: int = 0
    unanswered: int = 0
    latency: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A saved run; `seconds` are the whole measured ones, warm-up left out.

    What ended after the load, in the drain, is counted with its last second, as verdict.json counts it.
    """

    path: Path
    scenario: Scenario
    environment: f.Environment | None
    verdict: Verdict | None  # None: never judged
    seconds: int
    endpoints: Mapping[str, tuple[Second, ...]]
    cpu: Mapping[str, tuple[tuple[float, ...], ...]]  # component -> cores read in each second
    lost: tuple[str, ...] = ()  # rows that a comparison rests on and that are not as they were written


def read_measured(run: RunDir) -> MeasuredRun:
    """Read what a comparison needs. Raises RunDataError when this is not a run directory, or a broken one.

    A run that was judged is judged again from its rows: verdict.json may be older than what they hold now.
    """
    scenario, saved = read_scenario(run), read_verdict(run)
    history = load_history(run)
    window = find_window(history, scenario.load.warm_up)
    if window is not None and window.whole_seconds > MOST_SECONDS:
        what = f"a load of {window.whole_seconds:,} s; of at most {MOST_SECONDS:,} s each second is compared"
        raise RunDataError(f"{run.path}: {what}")
    return MeasuredRun(
        path=run.path,
        scenario=scenario,
        environment=history.environment,
        verdict=judge_history(run, scenario, history, saved.stack) if saved else None,
        seconds=window.whole_seconds if window else 0,
        endpoints=_endpoints(history.requests, window) if window and window.whole_seconds else {},
        cpu=_cpu(history.host, window) if window and window.whole_seconds else {},
        lost=(*lost_everything(history), *lost_parts(history, ("pools",))),
    )


def _endpoints(rows: Iterable[f.RequestCount], window: Window) -> dict[str, tuple[Second, ...]]:
    found: dict[str, tuple[Second, ...]] = {}
    for row in rows:
        if row.t_s < window.first_second:
            continue
        if row.endpoint not in found:
            found[row.endpoint] = tuple(Second() for _ in range(window.whole_seconds))
        second = found[row.endpoint][min(row.t_s - window.first_second, window.whole_seconds - 1)]
        second.requests += row.count
        second.server_errors += row.count if row.outcome in f.SERVER_ERRORS else 0
        second.unanswered += row.count if row.outcome in UNANSWERED else 0
        if row.outcome is f.Outcome.OK and window.in_whole_second(row.t_s):
            second.answered += row.count
        if row.outcome not in NO_WAIT:
            second.latency += bucket_counts(row.latency)
    return dict(sorted(found.items()))


def _cpu(host: Iterable[f.HostSample], window: Window) -> dict[str, tuple[tuple[float, ...], ...]]:
    found: dict[str, list[list[float]]] = {}
    for sample in host:
        if not window.measures(sample.t_s):
            continue
        series = found.setdefault(sample.component, [[] for _ in range(window.whole_seconds)])
        at = min(max(int(sample.t_s) - window.first_second, 0), window.whole_seconds - 1)
        series[at].append(sample.cpu_cores)
    return {name: tuple(tuple(second) for second in series) for name, series in sorted(found.items())}
