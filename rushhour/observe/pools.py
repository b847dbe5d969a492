"""Reads the agent's files while the service writes them, and turns them into facts."""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rushhour.observe.pool_process import PoolProcess
from rushhour.observe.pool_surroundings import Surroundings
from rushhour.observe.tail import Tail
from rushhour.rundir.facts import AgentFault, PoolFact, ServerSample

READ_OUT_S: Final = 4.0  # for the last poll; a run ends its observers within 6 s
SILENT_AFTER_S: Final = 5.0  # fifty samples missed in a row: the process was killed, or hangs as a whole

_PARAMETER: Final = re.compile(r"<(?:[^<>]*:)?(\w+)>")


def endpoint_label(method: str, rule: str) -> str:
    """`GET`, `/customers/<int:customer_id>/referrals` -> `GET /customers/:id/referrals`, as Locust names it.

    A parameter whose name ends with `id` becomes `:id`, any other one `:name`.
    """
    return (
        f"{method} {_PARAMETER.sub(lambda found: ':id' if found[1].endswith('id') else f':{found[1]}', rule)}"
    )


class PoolWatcher:
    """The pools of all processes of the service, as their agents describe them in `agent_dir`.

    `anchor_monotonic_s` is the run's anchor, to which all `t_s` refer. `servers` maps "host:port", as the
    service addresses it, to a server's name. Call sites are relative to `root`, the service's folder; `local`
    says what a file of the service's is on this machine.
    """

    def __init__(
        self,
        agent_dir: Path,
        anchor_monotonic_s: float,
        servers: Mapping[str, str],
        root: Path,
        clock: Callable[[], float] = time.monotonic,
        *,
        local: Callable[[str], str] = str,
    ) -> None:
        self._agent_dir = agent_dir
        self._anchor_s = anchor_monotonic_s
        self._clock = clock
        self._around = Surroundings(anchor_monotonic_s, servers, root.resolve(), _label, local)
        self._files: dict[int, _File] = {}
        self._in_locks: deque[ServerSample] = deque()  # not yet joined; other threads append

    def notice(self, sample: ServerSample) -> None:
        """Who waits for a lock on a server, and for whom: the check-outs of both are notable."""
        if sample.lock_waits:
            self._in_locks.append(sample)

    def poll(self) -> list[PoolFact]:
        """What was written since the last poll; a line that is still being written waits for the next one."""
        facts: list[PoolFact] = []
        self._look()
        for pid, file in self._files.items():
            facts += self._read(pid, file, lambda tail: [tail.lines()])
        while self._in_locks:
            sample = self._in_locks.popleft()
            pids = {pid for wait in sample.lock_waits for pid in (wait.pid, wait.blocked_by)}
            for file in self._files.values():
                facts += file.process.in_locks(sample.server, sample.t_s, pids)
        now_s = self._clock()
        for file in self._files.values():
            if now_s - file.process.heard_s > SILENT_AFTER_S:
                facts += file.process.fell_silent()
        return facts

    def finish(self, within_s: float = READ_OUT_S) -> list[PoolFact]:
        """Reads every file to its end; returns the facts, and every check-out that is still out.

        What cannot be read within `within_s` seconds is reported as a fault, with the number of bytes.
        """
        facts: list[PoolFact] = []
        deadline_s = self._clock() + within_s
        self._look()
        for pid, file in self._files.items():
            facts += self._read(pid, file, lambda tail: tail.rest(lambda: self._clock() > deadline_s))
            if self._clock() > deadline_s and (left := file.tail.unread()):
                late = TimeoutError(f"{left} bytes were not read within {within_s:g} s")
                facts.append(self._fault(pid, f"reading {file.name}", late))
        facts += self.poll()
        for file in self._files.values():
            facts += file.process.still_out()
        return facts

    def _look(self) -> None:
        for path in sorted(self._agent_dir.glob("*.jsonl")):
            if path.stem.isdecimal():
                pid = int(path.stem)
                self._files.setdefault(pid, _File(path, PoolProcess(pid, self._around)))

    def _read(
        self, pid: int, file: "_File", portions: Callable[[Tail], Iterable[list[str]]]
    ) -> Iterator[PoolFact]:
        try:
            for lines in portions(file.tail):
                yield from self._apply(pid, file, lines)
        except OSError as error:
            if str(error) != file.trouble:
                file.trouble = str(error)
                yield self._fault(pid, f"reading {file.name}", error)

    def _apply(self, pid: int, file: "_File", lines: Iterable[str]) -> Iterator[PoolFact]:
        for line in lines:
            try:
                record: dict[str, Any] = json.loads(line)
                yield from file.process.apply(record)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                yield self._fault(pid, f"{file.name}: not a record: {line[:120]!r}", error)

    def _fault(self, pid: int, where: str, error: Exception) -> AgentFault:
        return AgentFault(
            round(self._clock() - self._anchor_s, 4), pid, where, f"{type(error).__name__}: {error}"
        )


class _File:
    """One process's file, read from where the last poll stopped."""

    def __init__(self, path: Path, process: PoolProcess) -> None:
        self.name = path.name
        self.process = process
        self.tail = Tail(path)
        self.trouble: str | None = None  # the last one that was told


def _label(raw: str | None) -> str | None:
    if raw is None:
        return None
    method, _, rule = raw.partition(" ")
    return endpoint_label(method, rule)
