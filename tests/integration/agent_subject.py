"""Small services with the agent in them: each is a program, run in a process of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rushhour.agent.environment import agent_environment
from rushhour.observe.pools import PoolWatcher
from rushhour.rundir import facts as f

DEADLINE_S = 120.0

# What every program starts with. `seen` is what it has to say to the test; `agent_wrote` waits for the agent.
PREAMBLE = """
import glob, json, os, sys, threading, time
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

DB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "service.db")
ONE = text("select 1")

def engine(**options):
    small = {"pool_size": 2, "max_overflow": 1, "pool_timeout": 0.2}
    return create_engine("sqlite:///" + DB, **small | options)

def records(pid=None):
    path = os.path.join(os.environ["RUSHHOUR_AGENT_DIR"], f"{pid or os.getpid()}.jsonl")
    if not os.path.exists(path):
        return []  # a forked child's thread has not opened it yet
    with open(path) as file:
        return [json.loads(line) for line in file.read().split("\\n")[:-1]]

def agent_wrote(kind, count=1, pid=None, **wanted):
    until(lambda: sum(one["k"] == kind and wanted.items() <= one.items() for one in records(pid)) >= count)

def next_sample():
    before = sum(one["k"] == "sample" for one in records())
    agent_wrote("sample", before + 2)

def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s; the agent wrote {records()[-5:]}"
        time.sleep(0.01)
"""


@dataclass(frozen=True, slots=True)
class Observed:
    """What a program printed, and what its agents' files said at its end."""

    stdout: str
    stderr: str
    facts: tuple[f.PoolFact, ...]

    def of(self, kind: type) -> list:  # type: ignore[type-arg]  # of that kind
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def checkouts(self) -> dict[int, f.CheckOut]:
        """The last line of each, of a program with one process."""
        return {fact.id: fact for fact in self.of(f.CheckOut)}

    @property
    def last_samples(self) -> dict[str, f.PoolSample]:
        return {fact.pool: fact for fact in self.of(f.PoolSample)}

    @property
    def site_totals(self) -> dict[str, f.SiteTotal]:
        """By function, the last line of each."""
        return {fact.site.function: fact for fact in self.of(f.SiteTotal)}


@dataclass(frozen=True, slots=True)
class Subject:
    """Runs programs under the agent; their files lie in `folder`, the agent's in `agent_dir`."""

    folder: Path
    agent_dir: Path
    interpreter: str = sys.executable

    def write(self, program: str, name: str = "service.py") -> Path:
        path = self.folder / name
        path.write_text(PREAMBLE + program)
        return path

    def environment(self, **extra: str) -> dict[str, str]:
        base = {**os.environ, "PYTHONWARNINGS": "error", **extra}
        return {**base, **agent_environment(self.agent_dir, base)}

    def run(self, program: str, **extra: str) -> Observed:
        """Run a program to its end; it must succeed, and the agent must report no fault."""
        done = subprocess.run(
            [self.interpreter, str(self.write(program))],
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        observed = Observed(done.stdout, done.stderr, tuple(self.watcher().finish()))
        assert observed.of(f.AgentFault) == []
        return observed

    def watcher(self) -> PoolWatcher:
        return PoolWatcher(self.agent_dir, 0.0, {}, self.folder)


def line_of(path: Path, marker: str) -> int:
    """The line of the one that ends with `# marker`."""
    lines = path.read_text().splitlines()
    return 1 + next(number for number, line in enumerate(lines) if line.endswith(f"# {marker}"))
