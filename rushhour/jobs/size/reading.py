"""Reads the runs, or the scraped metrics, that a size is computed from, and refuses those that have none."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from rushhour.errors import InsufficientDataError, RunDataError, UsageError
from rushhour.forecast.demand import Demand
from rushhour.forecast.growth import joined
from rushhour.forecast.recorded import read_demand
from rushhour.forecast.scraped import Scrape, parse_scrape, scraped_demand
from rushhour.forecast.threads import threads_of
from rushhour.judging.judge import judge_history, read_scenario
from rushhour.metrics.measure import Metrics, measure
from rushhour.rundir import History, load_history, run_at
from rushhour.rundir.reading import read_text
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict
from rushhour.verdict.lost import lost_figures

R = TypeVar("R")

LEAKS: Final = ("scope-never-removed", "unclosed-path", "abandoned-stream")
NESTED: Final = "nested-checkout"
_TOGETHER: Final = 1.05  # holds of one pool that are longer than their request are held at the same time


def read_for_sizing(paths: Sequence[Path], over_s: float | None) -> Demand:
    """Read runs of one service, or one or two scraped texts, as a demand.

    Raises UsageError or RunDataError for what is neither, and InsufficientDataError where no size can be
    computed: for a leak, a nested check-out, an unknown verdict, no agent or too little data. Either names
    all paths that it is true of.
    """
    if problems := [*_not_read(paths)]:
        raise RunDataError("\n".join(problems))
    files = [path for path in paths if path.is_file()]
    if not files:
        if over_s is not None:
            raise UsageError(["--over: a run says itself how long it lasted; leave it out"])
        return joined(_each_of(_of_run, paths))
    if len(files) < len(paths):
        raise UsageError(["runs and scraped metrics cannot be joined: name runs, or texts"])
    if len(files) > 2:
        raise UsageError([f"{len(files)} scraped texts: name one, or an earlier and a later one"])
    if over_s is None or over_s <= 0:
        problem = (
            "--over: say over how long the metrics were counted: the time between the two texts, or for a "
            "single one the time since the service started: --over 1h"
        )
        raise UsageError([problem])
    scrapes = _each_of(_scrape, files)
    return scraped_demand(scrapes[-1], over_s, scrapes[0] if len(scrapes) == 2 else None)


def _not_read(paths: Sequence[Path]) -> Iterator[str]:
    """Yield what is wrong with each path that is neither a run nor a file, or is named twice."""
    seen: set[Path] = set()
    for path in paths:
        try:
            run = run_at(path)
            if run.path in seen:
                yield f"{path}: named twice"
            seen.add(run.path)
            if not run.path.exists():
                yield f"{path}: no such run or file"
            elif not run.path.is_file():
                read_scenario(run)
        except RunDataError as error:
            yield str(error)


def _each_of(read: Callable[[Path], R], paths: Sequence[Path]) -> list[R]:
    """Read each path. Raises one error for all that cannot be read, and else for all that hold too little."""
    found, unread, insufficient = list[R](), list[str](), list[str]()
    for path in paths:
        try:
            found.append(read(path))
        except (RunDataError, UsageError) as error:
            unread.append(str(error))
        except InsufficientDataError as error:
            insufficient.append(str(error))
    if unread:
        raise RunDataError("\n".join(unread))
    if insufficient:
        raise InsufficientDataError("\n".join(insufficient))
    return found


def _scrape(path: Path) -> Scrape:
    return parse_scrape(path.name, read_text(path) or "")


def _of_run(path: Path) -> Demand:
    run = run_at(path)
    scenario, history = read_scenario(run), load_history(run)
    stack = history.environment.stack if history.environment else "unknown"
    verdict = judge_history(run, scenario, history, stack)
    name = path.name if path.name != "latest" else run.path.name
    if not scenario.agent or not history.pools:
        raise InsufficientDataError(f"{name}: no pool was seen, because the run had no agent; run it with it")
    for problem in refusals(scenario, history, verdict, measure(scenario, history)):
        raise InsufficientDataError(f"{name}: {problem}")
    demand = read_demand(name, scenario, history)
    for problem in nested_endpoints(demand):
        raise InsufficientDataError(f"{name}: {problem}")
    return demand


def refusals(scenario: Scenario, history: History, verdict: Verdict, metrics: Metrics) -> Iterator[str]:
    """Yield why no size can be computed from a run, the most important reason first."""
    diagnosis = verdict.diagnosis
    if metrics.pool.leaked or diagnosis.cause in LEAKS:
        sites = [site for site in diagnosis.call_sites if site.leaked or site.collected]
        where = f", taken at {sites[0].file}:{sites[0].line} in {sites[0].function}" if sites else ""
        # A stream that is given up keeps its connection until its time is over: none is out at the end.
        found = f"{metrics.pool.leaked} of them" if metrics.pool.leaked else diagnosis.cause
        yield (
            f"connections leak ({found}{where}): a larger pool lasts longer and "
            "is exhausted all the same; mend the leak, run again, and size that run"
        )
    holding = [timeout for timeout in history.pool_timeouts if timeout.holding > 0]
    if diagnosis.cause == NESTED or holding:
        depth = 1 + max((timeout.holding for timeout in holding), default=1)
        yield nested_words(threads_of(scenario), depth, diagnosis.summary)
    if verdict.verdict == "unknown":
        why = "; ".join(verdict.reasons[:2])
        yield f"its verdict is unknown ({why}): its figures cannot be trusted; run it again"
    for lost in lost_figures(history):  # a run that failed for a proven reason can lack the rest
        yield f"{lost}: its figures cannot be trusted; run it again"


def nested_words(threads: int | None, depth: int, summary: str) -> str:
    """Say the smallest pool that cannot deadlock (Coffman et al. 1971: break hold and wait).

    It follows from the requests that are at work at once: `threads`, or None if nobody knows them, as of
    coroutines.
    """
    if threads is None:
        bound = (
            f"T requests at once with {depth} connections each cannot block each other for good if the pool "
            f"has T x ({depth} - 1) + 1 connections or more; how many that may be (threads of a process, or "
            "coroutines), the run does not say"
        )
    else:
        bound = (
            f"{threads} threads with {depth} connections each cannot block each other for good if the pool "
            f"has {threads} x ({depth} - 1) + 1 = {threads * (depth - 1) + 1} connections or more"
        )
    return (
        f"requests hold a connection while they wait for another one of the same pool ({summary}). No size "
        f"follows from waits then: {bound}. Better, take one connection a request, run again, and size that "
        "run"
    )


def nested_endpoints(demand: Demand) -> Iterator[str]:
    """Yield the endpoints whose requests seem to hold several connections of one pool at the same time."""
    for endpoint in demand.endpoints:
        for use in endpoint.uses:
            held_s = use.per_request * use.hold.mean_s
            if use.per_request >= 1.5 and endpoint.latency_s and held_s > _TOGETHER * endpoint.latency_s:
                depth = math.ceil(use.per_request)
                summary = (
                    f"{endpoint.name} takes {use.per_request:.1f} connections of pool {use.pool}, held for "
                    f"{held_s * 1e3:.0f} ms together in answers of {endpoint.latency_s * 1e3:.0f} ms"
                )
                yield nested_words(demand.threads, depth, summary)
