"""The run directory: the only reader and writer of a run's files."""

import dataclasses
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

from pydantic import TypeAdapter, ValidationError

from rushhour.errors import RunDataError
from rushhour.rundir import facts as f

T = TypeVar("T")

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
    f.Told: "notifications.jsonl",
    **dict.fromkeys(_KIND_OF, "pool.jsonl"),
}


def _plain(value: object) -> Any:
    """What json does not know by itself; it asks again for what lies deeper."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    return str(value)


_line: Final = json.JSONEncoder(separators=(",", ":"), default=_plain).encode


def encode(fact: object) -> str:
    """One line of JSON; a pool fact's own kind stands first, as `fact` (a pool's class is its `kind`)."""
    kind = _KIND_OF.get(type(fact))
    plain = _plain(fact)
    return _line({"fact": kind} | plain if kind else plain)


@dataclasses.dataclass(frozen=True, slots=True)
class RunDir:
    """Paths of one run, `runs/<start>-<scenario>/`."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def agent(self) -> Path:
        """Where the agent's processes write, one file each."""
        return self.path / "agent"

    @property
    def notifications(self) -> Path:
        """Where a real Alertmanager's notifications are recorded, in runs that have one."""
        return self.file("notifications.jsonl")

    def file(self, name: str) -> Path:
        return self.path / name

    def write_json(self, name: str, content: Any) -> None:
        """Write whole or not at all; dataclasses and tuples become JSON objects and arrays."""
        text = json.dumps(content, indent=2, default=_plain)
        temporary = self.file(f".{name}.tmp")
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(self.file(name))

    def read_json(self, name: str) -> Any:
        """Raises RunDataError when the file is missing or is not JSON."""
        try:
            return json.loads(self.file(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunDataError(f"{self.file(name)}: missing; {self.path} is not a run directory") from None
        except (OSError, ValueError) as error:
            raise RunDataError(f"{self.file(name)}: {error}") from None


class FactWriter:
    """Appends facts to the run's files as they come; safe to call from several threads.

    Each line is flushed, so a run that is killed keeps what it saw.
    """

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._files: dict[str, TextIO] = {}
        self._lock = threading.Lock()

    def write(self, new: Iterable[object]) -> None:
        """Append facts, each to the file of its kind."""
        by_file: dict[str, list[str]] = {}
        for fact in new:
            by_file.setdefault(_FILE_OF[type(fact)], []).append(encode(fact))
        with self._lock:
            for name, lines in by_file.items():
                if name not in self._files:
                    self._files[name] = self.run.file(name).open("a", encoding="utf-8")
                self._files[name].write("\n".join(lines) + "\n")
                self._files[name].flush()

    def close(self) -> None:
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()


class Recorder(FactWriter):
    """The harness's own writer: it sets the run's anchor, to which every `t_s` refers, and writes events.

    Until it is closed, or its process ends, the run counts as under way.
    """

    def __init__(self, run: RunDir) -> None:
        super().__init__(run)
        self.anchor_monotonic_s = time.monotonic()
        self.anchor_wall_s = time.time()
        run.logs.mkdir(parents=True, exist_ok=True)
        run.agent.mkdir(parents=True, exist_ok=True)
        self.event(f.ANCHOR, wall_s=self.anchor_wall_s, monotonic_s=self.anchor_monotonic_s)
        fcntl.flock(self._files[_EVENTS], fcntl.LOCK_SH)  # the kernel frees it, however this process ends

    def now_s(self) -> float:
        """Seconds since the run's anchor."""
        return time.monotonic() - self.anchor_monotonic_s

    def event(self, name: str, **detail: Any) -> f.Event:
        """Write an event that happens now, and return it."""
        happened = f.Event(round(self.now_s(), 4), name, detail)
        self.write([happened])
        return happened


def is_under_way(run: RunDir) -> bool:
    """Whether a process still records this run; also true where that cannot be found out."""
    try:
        with run.file(_EVENTS).open("rb") as events:
            fcntl.flock(events, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # held, or on a file system without locks
        return True
    return False


def read_facts(path: Path, kind: type[T]) -> Iterator[T]:
    """The facts of one file; a last line that was cut short is left out, a bad line elsewhere is an error."""
    adapter = TypeAdapter(kind)
    for _, line in _lines(path):
        try:
            yield adapter.validate_json(line)
        except ValidationError as error:
            raise RunDataError(
                f"{path}: not a {kind.__name__}: {line[:120]!r}: {error.errors()[0]['msg']}"
            ) from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    whole, _, cut = text.rpartition("\n")
    del cut  # a process that was killed in the middle of a line
    for number, line in enumerate(whole.splitlines(), 1):
        if line.strip():
            yield number, line


def _pool_facts(path: Path) -> Iterator[f.PoolFact]:
    adapters = {kind: TypeAdapter(fact) for kind, fact in POOL_KINDS.items()}
    for number, line in _lines(path):
        try:
            plain = json.loads(line)
            yield adapters[plain.pop("fact")].validate_python(plain)
        except (ValueError, KeyError) as error:
            raise RunDataError(f"{path}:{number}: not a pool fact: {error}") from None


def load_history(run: RunDir) -> f.History:
    """Read all of a run; a missing file leaves its part empty. Raises RunDataError on a broken one."""
    pool = list(_pool_facts(run.file("pool.jsonl")))
    checkouts = {(fact.pid, fact.id): fact for fact in pool if isinstance(fact, f.CheckOut)}
    environment = None
    if run.file("environment.json").exists():
        environment = TypeAdapter(f.Environment).validate_python(run.read_json("environment.json"))

    def of(kind: type[T]) -> tuple[T, ...]:
        return tuple(fact for fact in pool if isinstance(fact, kind))

    return f.History(
        environment=environment,
        events=tuple(read_facts(run.file("events.jsonl"), f.Event)),
        requests=tuple(
            sorted(read_facts(run.file("requests.jsonl"), f.RequestCount), key=lambda row: row.t_s)
        ),
        generator=tuple(
            sorted(read_facts(run.file("generator.jsonl"), f.GeneratorSample), key=lambda row: row.t_s)
        ),
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
        servers=tuple(read_facts(run.file("postgres.jsonl"), f.ServerSample)),
        host=tuple(read_facts(run.file("host.jsonl"), f.HostSample)),
        told=tuple(read_facts(run.notifications, f.Told)),
    )


def create_run_dir(runs: Path, scenario: str) -> RunDir:
    """Make `runs/<UTC start>-<scenario>/` and point `runs/latest` at it."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for attempt in range(100):
        path = runs / (f"{stamp}-{scenario}" + (f"-{attempt}" if attempt else ""))
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        link = runs / f".latest.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(runs / "latest")
        return RunDir(path)
    raise RunDataError(f"{runs}: a hundred runs of {scenario} started in this second")
