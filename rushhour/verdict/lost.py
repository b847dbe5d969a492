"""What a saved run's lost rows leave unknown (pure)."""

from collections.abc import Container, Iterable, Iterator
from typing import Final

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
# Without these nothing is known: what the run was held to; when the load began, what was done to the servers.
RESTS_ALL: Final = frozenset({EVERYTHING, "events.jsonl", "scenario.json"})
# Whether the generator kept its schedule, and whether the machine had other work: slowness may be theirs.
_CONDITIONS: Final = frozenset({"generator.jsonl", "host.jsonl"})
_NEVER_SLOWNESS: Final = frozenset({"leaked_connections"})
# More rows can only raise these, so a bound that the rest has broken is broken.
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
    "postgres.jsonl": "the replica's lag",
    "host.jsonl": "whether the machine was busy with other work, and every figure of CPU",
    NOTIFICATIONS: "who was paged",
    ENVIRONMENT: "where the run took place: its stack, its limits, its versions",
    "services.jsonl": "whether any other service was touched",
}


def rests_on(file: str) -> str:
    """What a file's rows are needed for, in words."""
    return _RESTS.get(file, "everything that this run says")


def is_lost(history: History, *sources: Source) -> bool:
    """Whether rows of one of these are not as they were written."""
    files = {FILE_OF[source] for source in sources}
    return any(loss.file in files for loss in history.losses)


def lost_everything(history: History) -> Iterator[str]:
    """Losses that leave nothing to be judged."""
    return lost_in(history, RESTS_ALL)


def lost_parts(history: History, needed: Iterable[Source]) -> Iterator[str]:
    """Losses of what is needed, and of what every run is held to."""
    yield from lost_of(history, (*needed, "requests", "generator", "host"))
    yield from lost_in(history, {ENVIRONMENT})


def lost_of(history: History, needed: Iterable[Source]) -> Iterator[str]:
    """Losses of what is needed."""
    return lost_in(history, {FILE_OF[source] for source in needed})


def lost_in(history: History, files: Container[str]) -> Iterator[str]:
    """Losses of these files."""
    for loss in history.losses:
        if loss.file in files:
            yield lost_in_words(loss)


def touched(history: History, threshold: Threshold) -> list[f.Loss]:
    """Losses of what a threshold's metric rests on."""
    files = {FILE_OF[METRICS[threshold.metric].source]} | RESTS_ALL
    if threshold.metric not in _NEVER_SLOWNESS:
        files |= _CONDITIONS
    return [loss for loss in history.losses if loss.file in files]


def is_proven(history: History, threshold: Threshold, value: float) -> bool:
    """Whether a bound that the rows at hand break was broken, whatever the lost ones held."""
    own = FILE_OF[METRICS[threshold.metric].source]
    losses = touched(history, threshold)
    return not losses or (
        threshold.metric in _ONLY_GROWS
        and value > threshold.bound
        and all(loss.file == own and not loss.foreign for loss in losses)
    )


def lost_in_words(loss: f.Loss) -> str:
    """What was lost, and what rests on it."""
    return f"{loss.in_words()}; on it rests {rests_on(loss.file)}"
