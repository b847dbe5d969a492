"""Watches a run: starts the observers, each in its thread, and ends them."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from pydantic import TypeAdapter, ValidationError

from rushhour.errors import RunDataError
from rushhour.observe.host import HostSampler
from rushhour.observe.live_state import LiveState
from rushhour.observe.logs import LogCount, LogWatcher
from rushhour.observe.loop import Loop
from rushhour.observe.moments import Moments
from rushhour.observe.pools import READ_OUT_S, PoolWatcher
from rushhour.observe.postgres import ServerSampler
from rushhour.observe.sink import Sink
from rushhour.observe.tail import Tail
from rushhour.observe.task_pools import TaskPools
from rushhour.process.meter import Meter
from rushhour.process.psutil_meters import MachineMeter, ProcessMeter
from rushhour.rundir import Recorder, RunDir
from rushhour.rundir import facts as f
from rushhour.stack import KnowsSources, Running, Server, WritesPerTask

POOLS_EVERY_S: Final = 0.2
SAMPLES_EVERY_S: Final = 1.0  # servers, host, logs
TAILS_EVERY_S: Final = 0.25
STARTED_WITHIN_S: Final = 3.0  # each observer has tried once before the load may start
ENDED_WITHIN_S: Final = 6.0  # all of them, their last readings included


class PoolReader(Protocol):
    """Reads what the pool agent wrote since the last call; `finish` reads the rest.

    `notice` says what a server said, from that observer's thread.
    """

    def notice(self, sample: f.ServerSample) -> None: ...

    def poll(self) -> list[f.PoolFact]: ...

    def finish(self) -> list[f.PoolFact]: ...


class Watcher:
    """The observers of one run; made by `watch`."""

    def __init__(self, sink: Sink, host: HostSampler, loops: list[Loop]) -> None:
        self._sink = sink
        self._host = host
        self._loops = loops

    def state(self) -> LiveState:
        """What is known now."""
        return self._sink.state()

    def add_meter(self, component: str, meter: Meter) -> None:
        """Read this component too from now on."""
        self._host.add(component, meter)

    def start(self) -> None:
        """Start all observers and wait until each has tried once: connections open before the load does."""
        for loop in self._loops:
            loop.start()
        deadline_s = time.monotonic() + STARTED_WITHIN_S
        for loop in self._loops:
            if not loop.tried.wait(max(0.0, deadline_s - time.monotonic())):
                self._sink.fault(
                    loop.name, TimeoutError(f"its first reading has taken over {STARTED_WITHIN_S:g} s")
                )

    def close(self) -> None:
        """Take the last readings and end within ENDED_WITHIN_S, whatever hangs.

        Raises RunDataError when facts could not be written: the run directory is not whole then.
        """
        for loop in self._loops:
            loop.stop()
        deadline_s = time.monotonic() + ENDED_WITHIN_S
        for loop in self._loops:
            if not loop.ended_by(deadline_s):
                self._sink.fault(loop.name, TimeoutError(f"has not ended within {ENDED_WITHIN_S:g} s"))
        if (error := self._sink.close()) is not None:
            raise RunDataError(f"what was observed could not be written: {error}; the run is not whole")


@contextmanager
def watch(
    recorder: Recorder, running: Running, *, pools: PoolReader, extra_meters: Mapping[str, Meter]
) -> Iterator[Watcher]:
    """Observe until the block ends. "machine" and "harness" are always metered."""
    sink = Sink(recorder)
    meters = {**running.meters, **extra_meters, "machine": MachineMeter(), "harness": ProcessMeter()}
    host = HostSampler(meters, recorder.now_s, lambda name, error: sink.fault(f"meter {name}", error))
    loops = [
        _pools_loop(pools, sink),
        *(_server_loop(server, recorder.now_s, sink, pools) for server in running.servers),
        Loop("host", SAMPLES_EVERY_S, lambda: sink.keep(host.sample()), sink.fault),
        _logs_loop(recorder, sink),
        _tails_loop(recorder.run, sink),
    ]
    watcher = Watcher(sink, host, loops)
    try:
        watcher.start()
        yield watcher
    except BaseException as first:
        try:
            watcher.close()
        except RunDataError as second:
            first.add_note(str(second))
        raise
    watcher.close()


def pool_watcher(running: Running, recorder: Recorder) -> PoolReader:
    """Reads the agent's files, of all tasks where each has its own, and names each pool after its server."""

    def watcher_of(directory: Path) -> PoolWatcher:
        return PoolWatcher(
            agent_dir=directory,
            anchor_monotonic_s=recorder.anchor_monotonic_s,
            servers={
                server.reached_as or f"{server.host}:{server.port}": server.name for server in running.servers
            },
            root=running.service_root,
            local=running.local_source if isinstance(running, KnowsSources) else str,
        )

    agent = recorder.run.agent
    if isinstance(running, WritesPerTask):
        return TaskPools(partial(running.task_directories, agent), watcher_of)
    return watcher_of(agent)


def _pools_loop(pools: PoolReader, sink: Sink) -> Loop:
    moments = Moments()

    def keep(facts: list[f.PoolFact]) -> None:
        sink.keep(facts)
        sink.keep(moments.feed(facts))

    return Loop(
        "pools", POOLS_EVERY_S, lambda: keep(pools.poll()), sink.fault, finish=lambda: keep(pools.finish())
    )


def _server_loop(server: Server, now_s: Callable[[], float], sink: Sink, pools: PoolReader) -> Loop:
    sampler = ServerSampler(server, now_s)

    def step() -> None:
        sample = sampler.sample()
        sink.keep([sample])
        pools.notice(sample)

    return Loop(
        f"postgres {server.name}",
        SAMPLES_EVERY_S,
        step,
        sink.fault,
        finish=sampler.close,
    )


def _logs_loop(recorder: Recorder, sink: Sink) -> Loop:
    logs = LogWatcher(recorder.run.logs)

    def keep(counts: list[LogCount]) -> None:
        for count in counts:
            detail = {
                "source": count.source,
                "queuepool_timeouts": count.queuepool_timeouts,
                "errors": count.errors,
                **({"kinds": count.kinds} if count.kinds else {}),
            }
            sink.keep([f.Event(round(recorder.now_s(), 4), f.LOG_ERRORS, detail)])

    def finish() -> None:
        keep(logs.finish())
        if logs.unread:
            raise TimeoutError(f"{logs.unread} bytes of the service's logs were not read in time")

    return Loop("logs", SAMPLES_EVERY_S, lambda: keep(logs.poll()), sink.fault, finish=finish)


def _tails_loop(run: RunDir, sink: Sink) -> Loop:
    """What other processes, and other parts of the harness, write into the run's files."""
    kinds: dict[str, TypeAdapter[f.RequestCount] | TypeAdapter[f.GeneratorSample] | TypeAdapter[f.Event]] = {
        "requests.jsonl": TypeAdapter(f.RequestCount),
        "generator.jsonl": TypeAdapter(f.GeneratorSample),
        "events.jsonl": TypeAdapter(f.Event),
    }
    tails = {name: Tail(run.file(name)) for name in kinds}

    def fold(name: str, lines: list[str]) -> None:
        for line in lines:
            try:
                sink.fold([kinds[name].validate_json(line)])
            except ValidationError as error:
                sink.fault(f"tail {name}", error)

    def step() -> None:
        for name, tail in tails.items():
            fold(name, tail.lines())

    def finish() -> None:
        deadline_s = time.monotonic() + READ_OUT_S
        for name, tail in tails.items():
            for lines in tail.rest(lambda: time.monotonic() > deadline_s):
                fold(name, lines)

    return Loop("tails", TAILS_EVERY_S, step, sink.fault, finish=finish)
