"""Meters containers with the engine's statistics, and copies their logs into the run directory."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psutil
from docker.errors import NotFound

from rushhour.errors import StackError
from rushhour.process.meter import MeterReading
from rushhour.process.psutil_meters import ProcessTreeMeter
from rushhour.process.regular import open_to_append
from rushhour.stack.compose.engine import ENGINE_ERRORS, Engine, last_reason

METER_TIMEOUT_S: Final = 10  # the stream normally sends figures once a second
CLOSE_TIMEOUT_S: Final = 5.0
FOLLOW_TIMEOUT_S: Final = 3600 * 24  # a log may be silent for as long as a soak lasts
RETRY_S: Final = 0.3


class ContainerMeter:
    """Meters a container with the engine's figures, sent once a second, across restarts."""

    def __init__(self, engine: Engine, container_id: str, limit_cores: float | None) -> None:
        self._client = engine.client(timeout_s=METER_TIMEOUT_S)
        self._id = container_id
        self._limit_cores = limit_cores
        self._usage = Usage()
        self._latest: tuple[float, MeterReading] | None = None  # when it was taken (monotonic), and what
        self._problem = "the engine has sent no figures yet"
        self._ended = threading.Event()
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"meter {container_id[:12]}", daemon=True)
        self._thread.start()

    @property
    def limit_cores(self) -> float | None:
        return self._limit_cores

    def read(self) -> MeterReading:
        """Return the latest figures. Raises ProcessLookupError if the container does not run."""
        latest = self._latest
        if latest is None:
            raise ProcessLookupError(f"container {self._id[:12]}: {self._problem}")
        taken_s, reading = latest
        return replace(reading, age_s=max(0.0, time.monotonic() - taken_s))

    def wait_for_first(self, timeout_s: float) -> None:
        """Wait for the engine's first figures. Raises StackError if there are none in time."""
        if not self._first.wait(timeout_s):
            raise StackError(
                f"no statistics of container {self._id[:12]} in {timeout_s:g} s: {self._problem}"
            )

    def stop(self) -> None:
        """Stop after the next figures."""
        self._ended.set()

    def close(self) -> None:
        """Call it once the container has stopped or is gone: then the engine ends the stream."""
        self.stop()
        self._thread.join(CLOSE_TIMEOUT_S)
        self._client.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                for stats in self._client.api.stats(self._id, decode=True):
                    self._take(stats)
                    if self._ended.is_set():
                        return
            except NotFound:
                self._lose("it is gone")
                return
            except ENGINE_ERRORS as error:
                self._lose(last_reason(error))
            self._ended.wait(RETRY_S)

    def _take(self, stats: dict[str, Any]) -> None:
        reading = self._usage.reading(stats)
        if reading is None:
            self._lose("it does not run")
            return
        self._latest = (time.monotonic(), reading)
        self._first.set()

    def _lose(self, problem: str) -> None:
        self._problem = problem
        self._latest = None


class Usage:
    """Makes a container's figures grow across restarts, which reset the engine's figures."""

    def __init__(self) -> None:
        self._before_s = (0.0, 0.0)  # CPU and throttled time of its earlier lives
        self._last_s = (0.0, 0.0)

    def reading(self, stats: Mapping[str, Any]) -> MeterReading | None:
        """Read the meter; None while the container does not run: then the engine's figures are empty."""
        processes = int((stats.get("pids_stats") or {}).get("current") or 0)
        if not processes:
            return None
        now_s = (
            stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
            stats["cpu_stats"]["throttling_data"]["throttled_time"] / 1e9,
        )
        if now_s[0] < self._last_s[0]:
            self._before_s = (self._before_s[0] + self._last_s[0], self._before_s[1] + self._last_s[1])
        self._last_s = now_s
        return MeterReading(
            cpu_s=self._before_s[0] + now_s[0],
            rss_bytes=used_memory_bytes(stats.get("memory_stats") or {}),
            processes=processes,
            throttled_s=self._before_s[1] + now_s[1],
        )


def engine_meter() -> ProcessTreeMeter | None:
    """Measure the engine's work for this run: it carries every byte of the published ports, and runs probes.

    None where it is no process of this machine (it may run in a virtual one), or one of several.
    """
    found = [process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == "dockerd"]
    try:
        return ProcessTreeMeter(found[0]) if len(found) == 1 else None
    except ProcessLookupError:
        return None


def used_memory_bytes(memory: Mapping[str, Any]) -> int:
    """Return what the container holds less file pages that the kernel may drop, as `docker stats` does."""
    details = memory.get("stats") or {}
    droppable = details.get("total_inactive_file", details.get("inactive_file", 0))  # cgroup v1, v2
    return max(0, int(memory.get("usage") or 0) - int(droppable))


class LogFollower:
    """Appends a container's output to a file, across restarts, until `close`."""

    def __init__(self, engine: Engine, container_id: str, log: Path) -> None:
        self._client = engine.client(timeout_s=FOLLOW_TIMEOUT_S)
        self._id = container_id
        self._log = log
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"log of {log.stem}", daemon=True)
        self.problem: str | None = None  # why the file may be short
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Call it once the container has stopped: what it wrote is read to its end."""
        self._ended.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.problem = f"its last lines had not come after {timeout_s:g} s"
        self._client.close()

    def _follow(self) -> None:
        since: float | None = None
        try:
            file = open_to_append(self._log)
        except OSError as error:  # a container that writes into the same folder put something in its place
            self.problem = f"{self._log}: {error.strerror}"
            return
        with file:
            while True:
                last_round = self._ended.is_set()
                try:
                    for chunk in self._client.api.logs(self._id, stream=True, follow=True, since=since):
                        file.write(chunk)
                        file.flush()
                except NotFound:
                    return
                except ENGINE_ERRORS as error:
                    if not self._ended.is_set():
                        self.problem = str(error)
                if last_round:
                    return
                # The stream ends when the container stops; it may be started again.
                since = time.time()
                self._ended.wait(RETRY_S)
