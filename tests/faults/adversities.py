"""What may be wrong with a machine: its disk, files, memory, clock, ports, connections."""

import os
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from tests.faults.harness import Harness

SMALL_DISK: Final = "192k"
SLOW_DISK_MB: Final = 2048
STANDS_STILL_S: Final = 2.0  # as a volume of a cloud does while it is moved
STANDSTILLS: Final = 3
LOAD_WITHIN_S: Final = 60.0
# libfaketime would reach more than Python, but its time.sleep() fails with EINVAL under Python 3.11.
CLOCK: Final = """
import datetime, os, time

_time, _time_ns, _file = time.time, time.time_ns, os.environ["RUSHHOUR_FAULTS_CLOCK"]

def _shift():
    with open(_file) as file:
        return int(file.read() or 0)

class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

time.time = lambda: _time() + _shift()
time.time_ns = lambda: _time_ns() + _shift() * 1_000_000_000
datetime.datetime = _Datetime
"""
# Another program takes every other port that the harness found free, before the harness can use it.
PORTS: Final = """
import os, random, socket, sys

if "run" in sys.orig_argv and "rushhour" in sys.orig_argv:
    _dice, _close, _taken = random.Random(int(os.environ["RUSHHOUR_FAULTS_PORTS"])), socket.socket.close, []

    def _closing(self):
        port = 0
        try:
            if self.family == socket.AF_INET and not self.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                port = self.getsockname()[1]
                self.getpeername()
                port = 0
        except OSError:
            pass
        _close(self)
        if port and _dice.random() < 0.5:
            _taken.append(other := socket.socket())
            other.bind(("127.0.0.1", port))
            other.listen(8)

    socket.socket.close = _closing
"""


def no_ground(_runs: Path, _cache: Path) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Adversity:
    """What is wrong with the machine; `may_pass`: a run that saw all may still pass under it."""

    name: str
    may_pass: bool
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Callable[[], None] | None = None
    ground: Callable[[Path, Path], AbstractContextManager[None]] = no_ground  # of the run and of the cache
    while_it_runs: Callable[[Harness, Path], None] | None = None
    needs_root: bool = False


def adversities(folder: Path, dice: random.Random) -> Iterator[Adversity]:
    """Every kind once; `dice` chooses ports and connections."""
    yield Adversity("disk full", may_pass=False, ground=_small_disk, needs_root=True)
    yield Adversity(
        "slow disk", may_pass=True, ground=_slow_disk, while_it_runs=_stand_still, needs_root=True
    )
    yield Adversity("few open files", may_pass=True, limits=_limit(resource.RLIMIT_NOFILE, 96))
    yield Adversity("short memory", may_pass=True, limits=_limit(resource.RLIMIT_AS, 600 * 1024 * 1024))
    clock = folder / "clock"
    clock.write_text("0")

    def set_back(harness: Harness, runs: Path) -> None:
        if _under_load(harness, runs):
            clock.write_text("-3600")

    changed = _changed_python(folder / "of-the-clock", CLOCK) | {"RUSHHOUR_FAULTS_CLOCK": str(clock)}
    yield Adversity("clock set back", may_pass=True, environment=changed, while_it_runs=set_back)
    changed = _changed_python(folder / "of-ports", PORTS) | {
        "RUSHHOUR_FAULTS_PORTS": str(dice.randrange(1 << 30))
    }
    yield Adversity("ports taken", may_pass=True, environment=changed)

    def cut(harness: Harness, runs: Path) -> None:
        if _under_load(harness, runs):
            _close_sockets(harness, dice)

    yield Adversity("sockets closed", may_pass=True, while_it_runs=cut, needs_root=True)


def _changed_python(folder: Path, lines: str) -> dict[str, str]:
    """The environment in which every Python runs these lines first."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(lines)
    return {"PYTHONPATH": str(folder)}


def _limit(which: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(which, (value, value))


def _under_load(harness: Harness, runs: Path) -> bool:
    """Wait until the run has seen answers; whether it came to that."""
    deadline = time.monotonic() + LOAD_WITHIN_S
    while harness.process.poll() is None and time.monotonic() < deadline:
        if any(path.stat().st_size for path in runs.glob("*/requests.jsonl")):
            return True
        time.sleep(0.1)
    return False


@contextmanager
def _small_disk(runs: Path, _cache: Path) -> Iterator[None]:
    with _mounted(runs, "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs"):
        yield


@contextmanager
def _slow_disk(runs: Path, cache: Path) -> Iterator[None]:
    """A disk of its own for the run directory and for the servers' data."""
    image, disk, work = runs.with_suffix(".disk"), runs.with_suffix(".mounted"), cache / "work"
    with image.open("wb") as file:
        file.truncate(SLOW_DISK_MB << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    for path in (disk, work):
        path.mkdir(parents=True, exist_ok=True)
    with _mounted(disk, "-o", "loop", str(image)):
        for path in (disk / "runs", disk / "work"):
            path.mkdir(mode=0o755)
        with _mounted(runs, "--bind", str(disk / "runs")), _mounted(work, "--bind", str(disk / "work")):
            yield
    image.unlink()
    disk.rmdir()


@contextmanager
def _mounted(path: Path, *what: str) -> Iterator[None]:
    subprocess.run(["mount", *what, str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _stand_still(harness: Harness, runs: Path) -> None:
    """No write ends for some seconds, some times; the shell thaws the disk even if this process is killed."""
    if not _under_load(harness, runs):
        return
    disk = runs.with_suffix(".mounted")
    once = f"fsfreeze --freeze {disk}; sleep {STANDS_STILL_S}; fsfreeze --unfreeze {disk}"
    for _ in range(STANDSTILLS):
        subprocess.run(["setsid", "sh", "-c", once], check=True)
        time.sleep(0.5)


def _close_sockets(harness: Harness, dice: random.Random) -> None:
    """Half of the run's connections end at once, as through a firewall that forgets them with a reset."""
    ports = sorted(
        {
            connection.laddr.port
            for process in harness.living()
            for connection in _connections(process)
            if connection.status == psutil.CONN_ESTABLISHED
        }
    )
    for port in dice.sample(ports, (len(ports) + 1) // 2):
        command = ["ss", "--kill", "--no-header", "state", "established", f"( sport = :{port} )"]
        subprocess.run(command, check=True, capture_output=True)


def _connections(process: psutil.Process) -> list[Any]:
    with suppress(psutil.Error, OSError):
        return list(process.net_connections(kind="tcp"))
    return []


def can_try(adversity: Adversity) -> bool:
    """Root may mount disks and close connections; `ss --kill` needs iproute2."""
    return not adversity.needs_root or (os.geteuid() == 0 and shutil.which("ss") is not None)
