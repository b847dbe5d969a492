"""Says what is unknown when rows of a saved run are lost (pure)."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from typing import Final

from rushhour.diagnosis import Diagnosis, Evidence
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.rundir.losses import EVERYTHING, NOTIFICATIONS
from rushhour.scenario.thresholds import METRICS, Source, Threshold

FILE_OF: Final[dict[Source, str]] = {
    "requests": "requests.jsonl",
    "generator": "generator.jsonl",
    "pools": "pool.jsonl",
    "postgres": "postgres.jsonl",
    "host": "host.jsonl",
}
ENVIRONMENT: Final = "environment.json"
EVENTS: Final = "events.jsonl"
POOLS: Final = "pool.jsonl"
SERVICES: Final = "services.jsonl"
# Without these files a run cannot be judged: they hold its scenario and the times of its phases and faults.
RESTS_ALL: Final = frozenset({EVERYTHING, "events.jsonl", "scenario.json"})
# These files show whether the load generator or other work on the machine made the run slow.
_CONDITIONS: Final = frozenset({"generator.jsonl", "host.jsonl"})
_COUNTED_TWICE: Final = frozenset({"queuepool_timeouts"})  # by the agent, and in the answers of requests
_NEVER_SLOWNESS: Final = frozenset({"leaked_connections"})
# More rows can only raise these metrics, so an upper bound that the remaining rows violate is violated.
_ONLY_GROWS: Final = frozenset(
    {
        "queuepool_timeouts",
        "pool_in_use_max",
        "pool_waiters_max",
        "http_4xx",
        "http_5xx",
        "client_timeouts",
        "connect_errors",
        "requests",
        "replica_lag_max",
    }
)
_RESTS: Final = {
    "requests.jsonl": "every figure of requests",
    "generator.jsonl": "whether the generator kept its schedule",
    "pool.jsonl": "every figure of the pools, and the diagnosis",
    "postgres.jsonl": "the replica's lag, and the diagnosis",
    "host.jsonl": "whether the machine was busy with other work, and every figure of CPU",
    NOTIFICATIONS: "who was paged",
    ENVIRONMENT: "where the run took place: its stack, its limits, its versions",
    SERVICES: "whether any other service was touched",
}
_NO_WITNESSES: Final = frozenset({NOTIFICATIONS, SERVICES})  # every other file may contradict a cause


def rests_on(file: str) -> str:
    """Say what the rows of a file are needed for."""
    return _RESTS.get(file, "everything that this run says")


def has_losses(history: History, *sources: Source) -> bool:
    """Return whether rows of one of these sources were lost or changed."""
    files = {FILE_OF[source] for source in sources}
    return any(loss.file in files for loss in history.losses)


def lost_everything(history: History) -> Iterator[str]:
    """Describe the losses that void the whole run."""
    return lost_in(history, RESTS_ALL)


def lost_parts(history: History, needed: Iterable[Source]) -> Iterator[str]:
    """Describe the losses of the needed sources and of those that every run needs."""
    yield from lost_of(history, (*needed, "requests", "generator", "host"))
    yield from lost_in(history, {ENVIRONMENT})


def lost_figures(history: History) -> Iterator[str]:
    """Describe the losses of anything that a prediction from the run's figures rests on."""
    yield from lost_everything(history)
    yield from lost_parts(history, ("pools", "postgres"))


def lost_of(history: History, needed: Iterable[Source]) -> Iterator[str]:
    """Describe the losses of the needed sources."""
    return lost_in(history, {FILE_OF[source] for source in needed})


def lost_in(history: History, files: Container[str]) -> Iterator[str]:
    """Describe the losses of these files."""
    for loss in history.losses:
        if loss.file in files:
            yield lost_in_words(loss)


def _own_files(threshold: Threshold) -> frozenset[str]:
    """Return the files whose rows are counted for the metric of a threshold."""
    own = FILE_OF[METRICS[threshold.metric].source]
    return frozenset({own, "requests.jsonl"}) if threshold.metric in _COUNTED_TWICE else frozenset({own})


def has_foreign(history: History, *files: str) -> bool:
    """Return whether one of these files holds rows that were not written, so that it proves nothing."""
    return any(loss.foreign and loss.file in files for loss in history.losses)


def losses_behind(history: History, threshold: Threshold) -> list[f.Loss]:
    """Return the losses of files that the metric of a threshold needs."""
    files = _own_files(threshold) | RESTS_ALL
    if threshold.metric not in _NEVER_SLOWNESS:
        files |= _CONDITIONS
    return [loss for loss in history.losses if loss.file in files]


def stays_violated(history: History, threshold: Threshold, value: float) -> bool:
    """Return whether a violated bound stays violated whatever the lost rows held."""
    own, losses = _own_files(threshold), losses_behind(history, threshold)
    return not losses or (
        threshold.metric in _ONLY_GROWS
        and value > threshold.bound
        and all(loss.file in own and not loss.foreign for loss in losses)
    )


def less_sure(diagnosis: Diagnosis, history: History) -> Diagnosis:
    """Return the diagnosis, which is possible at most if rows were lost that could have contradicted it."""
    files = {loss.file for loss in history.losses} - _NO_WITNESSES
    if not files:
        return diagnosis
    meaning = f"the lost rows may speak against {diagnosis.cause}"
    lost = Evidence("not as it was written", ", ".join(sorted(files)), meaning=meaning)
    return replace(diagnosis, confidence="possible", evidence=(*diagnosis.evidence, lost))


def lost_in_words(loss: f.Loss) -> str:
    """Describe a loss, and what rests on the lost rows."""
    return f"{loss.in_words()}; on it rests {rests_on(loss.file)}"
