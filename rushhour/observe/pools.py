"""Reads the agent's files while the service writes them, and converts them to facts."""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rushhour.agent.marks import none_out
from rushhour.observe.pool_process import PoolProcess
from rushhour.observe.pool_surroundings import Surroundings
from rushhour.observe.tail import Tail
from rushhour.rundir.facts import AgentFault, PoolFact, ServerSample

READ_OUT_S: Final = 4.0  # for the last poll; a run ends its observers within 6 s
SILENT_AFTER_S: Final = 5.0  # fifty missed samples: the process was killed, or hangs completely

_PARAMETER: Final = re.compile(r"<(?:[^<>]*:)?(\w+)>")


def endpoint_label(method: str, rule: str) -> str:
    """Return the name that Locust gives a route: `GET /customers/:id/referrals`.

    The rule is that of the framework, as `/customers/<int:customer_id>/referrals`. A parameter whose name
    ends with `id` becomes `:id`, any other parameter `:name`.
    """
    return (
        f"{method} {_PARAMETER.sub(lambda found: ':id' if found[1].endswith('id') else f':{found[1]}', rule)}"
    )


class PoolWatcher:
    """Reads the pools of all processes of the service from their agents' files in `agent_dir`.

    `anchor_monotonic_s` is the run's anchor, to which all `t_s` refer. `servers` maps "host:port", as the
    service addresses it, to a server's name. Call sites are relative to `root`, the service's folder; `local`
    maps a path in the service's environment to a path on this machine.
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
        self._in_locks: deque[ServerSample] = deque()  # not yet joined to check-outs; other threads append

    def notice(self, sample: ServerSample) -> None:
        """Note a server's lock waits: the check-outs of waiting and blocking backends are notable."""
        if sample.lock_waits:
            self._in_locks.append(sample)

    def poll(self) -> list[PoolFact]:
        """Return the facts written since the last poll; an incomplete last line waits for the next poll."""
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
        """Read every file to its end; return the facts, and every check-out that is still out.

        If this takes longer than `within_s` seconds, a fault reports the number of bytes that were not read.
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
        for pid, file in self._files.items():
            facts += file.process.still_out()
            with suppress(OSError, ValueError):  # then it is not known
                if none_out(str(self._agent_dir), pid):
                    facts += file.process.had_none_out()
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
    """The file of a process, read from where the last poll stopped."""

    def __init__(self, path: Path, process: PoolProcess) -> None:
        self.name = path.name
        self.process = process
        self.tail = Tail(path)
        self.trouble: str | None = None  # the last fault that was reported


def _label(raw: str | None) -> str | None:
    if raw is None:
        return None
    method, _, rule = raw.partition(" ")
    return endpoint_label(method, rule)
