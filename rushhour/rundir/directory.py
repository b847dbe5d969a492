"""Reads and writes the files of a run directory."""

import dataclasses
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

from pydantic import TypeAdapter
from pydantic_core import from_json

from rushhour.errors import RunDataError
from rushhour.process.printable import shortened
from rushhour.process.regular import write_new
from rushhour.rundir import facts as f
from rushhour.rundir.details import check_anchor, check_detail
from rushhour.rundir.losses import CHECKED, NOTIFICATIONS, find_losses
from rushhour.rundir.manifest import WRITTEN_WHOLE, Ledger, Manifest, Rows, content_digest, read_manifests
from rushhour.rundir.masking import mask_environment, mask_text, mask_urls
from rushhour.rundir.reading import (
    Names,
    parse_json,
    read_bytes,
    read_lines,
    read_object,
    read_row,
    read_text,
)

T = TypeVar("T")

OWNER_ONLY: Final = 0o700  # logs of the service may hold its customers' data
_EVENTS: Final = "events.jsonl"

POOL_KINDS: Final[dict[str, type[f.PoolFact]]] = {
    "process": f.AgentProcess,
    "sample": f.PoolSample,
    "checkout": f.CheckOut,
    "site": f.SiteTotal,
    "timeout": f.PoolTimeout,
    "times": f.PoolTimes,
    "doing": f.PoolDoing,
    "inherited": f.Inherited,
    "loop": f.LoopSample,
    "engines": f.EnginesMade,
    "collected": f.Collected,
    "fault": f.AgentFault,
}
_KIND_OF: Final[dict[type, str]] = {fact: kind for kind, fact in POOL_KINDS.items()}
_FILE_OF: Final[dict[type, str]] = {
    f.RequestCount: "requests.jsonl",
    f.GeneratorSample: "generator.jsonl",
    f.ServerSample: "postgres.jsonl",
    f.HostSample: "host.jsonl",
    f.Event: _EVENTS,
    f.Notification: NOTIFICATIONS,
    f.ServiceSeen: "services.jsonl",
    **dict.fromkeys(_KIND_OF, "pool.jsonl"),
}
FACT_FILES: Final = tuple(dict.fromkeys(_FILE_OF.values()))
_ENVIRONMENT: Final = TypeAdapter(f.Environment)
_COMMANDS: Final = frozenset({"command", "setup", "arguments", "partner"})  # of a scenario


def _plain(value: object) -> Any:
    """What json does not know by itself; it asks again for what lies deeper.

    No secret of a program's environment or command goes into a run directory.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: _plain_field(name, getattr(value, name)) for name in value.__dataclass_fields__}
    return str(value)


def _plain_field(name: str, value: Any) -> Any:
    if name == "environment" and isinstance(value, Mapping):
        return mask_environment(value)
    if isinstance(value, str) and name in _COMMANDS:
        return mask_text(value)
    return value


def _masked(value: Any) -> Any:
    """Plain data with every text in it masked."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {name: _masked(part) for name, part in value.items()}
    return [_masked(part) for part in value] if isinstance(value, (list, tuple)) else value


_line: Final = json.JSONEncoder(separators=(",", ":"), default=_plain).encode


def encode(fact: object) -> str:
    """Encode a fact as a line of JSON; pool facts start with the key `fact`, their kind."""
    kind = _KIND_OF.get(type(fact))
    plain = _plain(fact)
    if isinstance(fact, f.Event):  # its details may be lines of a log
        plain = _masked(plain)
    return mask_urls(_line({"fact": kind} | plain if kind else plain))


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically. Raises RunDataError if the path is a folder."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write_new(temporary, text.encode())  # the directory may be a stranger's, with a link of that name
        temporary.replace(path)
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise RunDataError(f"{path}: cannot be written: {error.strerror}") from None


@dataclasses.dataclass(frozen=True, slots=True)
class RunDir:
    """The paths of a run, `runs/<start>-<scenario>/`."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def agent(self) -> Path:
        """The folder in which each process with an agent writes its file."""
        return self.path / "agent"

    @property
    def notifications(self) -> Path:
        """The folder of notifications, in runs with a real Alertmanager."""
        return self.file(NOTIFICATIONS)

    def file(self, name: str) -> Path:
        return self.path / name

    def write_json(self, name: str, content: Any) -> str:
        """Write whole or not at all; dataclasses and tuples become JSON objects and arrays. Its text."""
        text = mask_urls(json.dumps(content, indent=2, default=_plain)) + "\n"
        write_whole(self.file(name), text)
        return text

    def read_json(self, name: str) -> Any:
        """Read a JSON file. Raises RunDataError if it is missing or is not JSON."""
        text = read_text(self.file(name))
        if text is None:
            raise RunDataError(f"{self.file(name)}: missing; {self.path} is not a run directory")
        return parse_json(self.file(name), text)


def run_at(path: Path) -> RunDir:
    """Return the run at a path that a user gave. Raises RunDataError where there can be none."""
    try:
        resolved = path.resolve()
        resolved.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # reading it says what is missing
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise RunDataError(f"{shortened(path)}: no run directory: {why}") from None
    return RunDir(resolved)


class FactWriter:
    """Appends facts to the run's files; safe to call from several threads.

    Each line is flushed, so that a killed run keeps its facts, and a manifest records what was written.
    """

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._files: dict[str, TextIO] = {}
        self._ledger = Ledger(run.path)
        self._lock = threading.Lock()

    def write(self, new: Iterable[object]) -> None:
        """Append each fact to the file of its kind."""
        by_file: dict[str, list[tuple[str, float | None]]] = {}
        requests = started = 0
        for fact in new:
            row = (encode(fact), getattr(fact, "t_s", None))
            by_file.setdefault(_FILE_OF[type(fact)], []).append(row)
            if isinstance(fact, f.RequestCount):
                requests += fact.count
            elif isinstance(fact, f.GeneratorSample):
                started += fact.started
        with self._lock:
            for name, rows in by_file.items():
                if name not in self._files:
                    self._files[name] = self.run.file(name).open("a", encoding="utf-8")
                self._files[name].write("\n".join(line for line, _ in rows) + "\n")
                self._files[name].flush()
                self._ledger.add(name, rows)
            self._ledger.requests += requests
            self._ledger.started += started
            self._ledger.save()

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file atomically, and record its digest, so that later changes are detected."""
        with self._lock:
            self._ledger.add_whole(name, self.run.write_json(name, content).encode())
            self._ledger.save(now=True)

    def close(self) -> None:
        with self._lock:
            if self._files or self._ledger.whole:
                self._ledger.save(closed=True)
            for file in self._files.values():
                file.close()
            self._files.clear()


class Recorder(FactWriter):
    """The harness's writer: sets the run's anchor, to which every `t_s` refers, and writes events.

    The run counts as under way until the recorder is closed or its process ends.
    """

    def __init__(self, run: RunDir) -> None:
        super().__init__(run)
        self.anchor_monotonic_s = time.monotonic()
        self.anchor_wall_s = time.time()
        run.logs.mkdir(parents=True, exist_ok=True)
        run.agent.mkdir(parents=True, exist_ok=True)
        self.event(f.ANCHOR, wall_s=self.anchor_wall_s, monotonic_s=self.anchor_monotonic_s, manifest=True)
        fcntl.flock(self._files[_EVENTS], fcntl.LOCK_SH)  # the kernel releases it, however this process ends

    def close(self) -> None:
        """Close the files; call it once the stack is down and the pager has written its last notification."""
        self._list_notifications()
        super().close()

    def _list_notifications(self) -> None:
        """List the pager's rows, because the pager runs in its own container and keeps no manifest."""
        try:
            lines = [line for _, line in read_lines(self.run.notifications)]
        except RunDataError:
            return  # not listed: reading the run reports what is wrong with the file
        with self._lock:
            self._ledger.set_rows(NOTIFICATIONS, lines)

    def now_s(self) -> float:
        """Return the seconds since the run's anchor."""
        return time.monotonic() - self.anchor_monotonic_s

    def event(self, name: str, **detail: Any) -> f.Event:
        """Write an event with the current time, and return it."""
        happened = f.Event(round(self.now_s(), 4), name, detail)
        self.write([happened])
        return happened


def is_under_way(run: RunDir) -> bool:
    """Return whether a process still records this run; also True if that is unknown."""
    try:
        with run.file(_EVENTS).open("rb") as events:
            fcntl.flock(events, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # held, or on a file system without locks
        return True
    return False


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
        name = _FILE_OF[kind]
        return tuple(read_facts(run.file(name), kind, seen[name]))

    pool = list(_pool_facts(run.file("pool.jsonl"), seen["pool.jsonl"]))
    checkouts = {(fact.pid, fact.id): fact for fact in pool if isinstance(fact, f.CheckOut)}

    def of(kind: type[T]) -> tuple[T, ...]:
        return tuple(fact for fact in pool if isinstance(fact, kind))

    history = f.History(
        environment=read_object(run.file("environment.json"), _ENVIRONMENT),
        events=tuple(_events(run.file(_EVENTS), seen[_EVENTS])),
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
    check_anchor(run.file(_EVENTS), history)
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


def create_run_dir(runs: Path, scenario: str) -> RunDir:
    """Make `runs/<UTC start>-<scenario>/`, which only its owner enters, and point `runs/latest` at it."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for attempt in range(100):
        path = runs / (f"{stamp}-{scenario}" + (f"-{attempt}" if attempt else ""))
        try:
            runs.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=OWNER_ONLY)
        except FileExistsError:
            continue
        link = runs / f".latest.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(runs / "latest")
        return RunDir(path)
    raise RunDataError(f"{runs}: a hundred runs of {scenario} started in this second")
