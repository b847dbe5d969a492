"""Reads the facts of a whole run."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter
from pydantic_core import from_json

from rushhour.errors import RunDataError
from rushhour.rundir import facts as f
from rushhour.rundir.details import check_anchor, check_detail
from rushhour.rundir.directory import RunDir
from rushhour.rundir.encoding import EVENTS, FACT_FILES, FILE_OF, POOL_KINDS
from rushhour.rundir.losses import CHECKED, find_losses
from rushhour.rundir.manifest import WRITTEN_WHOLE, Manifest, Rows, content_digest, read_manifests
from rushhour.rundir.reading import Names, read_bytes, read_lines, read_object, read_row

T = TypeVar("T")
_ENVIRONMENT: Final = TypeAdapter(f.Environment)


def read_facts(path: Path, kind: type[T], seen: Rows | None = None) -> Iterator[T]:
    """Yield the facts of a file, counting them in `seen`; an incomplete last line is left out.

    Raises RunDataError for any other line that is not a fact of that kind.
    """
    adapter, names = TypeAdapter(kind), Names(path)
    for number, line in read_lines(path):
        fact = read_row(path, number, line, adapter, kind.__name__)
        names.add(number, fact)
        if seen is not None:
            seen.add(line, getattr(fact, "t_s", None))
        yield fact


_POOL_ADAPTERS: Final[dict[bytes, tuple[str, TypeAdapter[Any]]]] = {
    kind.encode(): (kind, TypeAdapter(fact)) for kind, fact in POOL_KINDS.items()
}
_POOL_START: Final = b'{"fact":"'


def _pool_facts(path: Path, seen: Rows) -> Iterator[f.PoolFact]:
    names = Names(path)
    for number, line in read_lines(path):
        if line.startswith(_POOL_START):
            kind = line[len(_POOL_START) : line.find(b'"', len(_POOL_START))]
        else:
            kind = _kind_of(path, number, line)
        if kind not in _POOL_ADAPTERS:
            raise RunDataError(f"{path}:{number}: not a pool fact: no such kind: {kind[:40]!r}")
        name, adapter = _POOL_ADAPTERS[kind]
        fact = read_row(path, number, line, adapter, f"pool fact of kind {name}")
        names.add(number, fact)
        seen.add(line, fact.t_s)
        yield fact


def _kind_of(path: Path, number: int, line: bytes) -> bytes:
    """Return the kind of a line that was not written by `encode`."""
    try:
        return str(from_json(line)["fact"]).encode()
    except (ValueError, TypeError, KeyError):
        raise RunDataError(f"{path}:{number}: not a pool fact: {line[:80]!r}") from None


def _events(path: Path, seen: Rows) -> Iterator[f.Event]:
    adapter = TypeAdapter(f.Event)
    for number, line in read_lines(path):
        event = read_row(path, number, line, adapter, f.Event.__name__)
        check_detail(path, number, event)
        seen.add(line, event.t_s)
        yield event


def load_history(run: RunDir) -> f.History:
    """Read a whole run; a missing file leaves its part empty, and `losses` lists what is missing.

    Raises RunDataError if a file cannot be read.
    """
    seen: dict[str, Rows] = {name: Rows() for name in FACT_FILES}

    def read(kind: type[T]) -> tuple[T, ...]:
        name = FILE_OF[kind]
        return tuple(read_facts(run.file(name), kind, seen[name]))

    pool = list(_pool_facts(run.file("pool.jsonl"), seen["pool.jsonl"]))
    checkouts = {(fact.pid, fact.id): fact for fact in pool if isinstance(fact, f.CheckOut)}

    def of(kind: type[T]) -> tuple[T, ...]:
        return tuple(fact for fact in pool if isinstance(fact, kind))

    history = f.History(
        environment=read_object(run.file("environment.json"), _ENVIRONMENT),
        events=tuple(_events(run.file(EVENTS), seen[EVENTS])),
        requests=tuple(sorted(read(f.RequestCount), key=lambda row: row.t_s)),
        generator=tuple(sorted(read(f.GeneratorSample), key=lambda row: row.t_s)),
        processes=of(f.AgentProcess),
        pools=of(f.PoolSample),
        checkouts=tuple(checkouts.values()),
        sites=of(f.SiteTotal),
        pool_timeouts=of(f.PoolTimeout),
        times=of(f.PoolTimes),
        doing=of(f.PoolDoing),
        inherited=of(f.Inherited),
        loops=of(f.LoopSample),
        engines=of(f.EnginesMade),
        collections=of(f.Collected),
        agent_faults=of(f.AgentFault),
        servers=read(f.ServerSample),
        host=read(f.HostSample),
        notifications=read(f.Notification),
        services=read(f.ServiceSeen),
    )
    check_anchor(run.file(EVENTS), history)
    manifests = read_manifests(run.path)
    losses = find_losses(history, seen, manifests, _digests(run, manifests))
    unchecked = () if manifests else (f"the run has no manifest, so it was held only to these: {CHECKED}",)
    return dataclasses.replace(history, losses=losses, unchecked=unchecked)


def _digests(run: RunDir, manifests: Iterable[Manifest]) -> dict[str, str | None]:
    """Return the digests of files written atomically, as they are now; None for a missing file.

    Empty for older runs, whose manifests name no such file.
    """
    if not any(manifest.whole for manifest in manifests):
        return {}
    found: dict[str, str | None] = {}
    for name in WRITTEN_WHOLE:
        content = read_bytes(run.file(name))
        found[name] = None if content is None else content_digest(content)
    return found
