"""Meters on real processes that burn CPU, have children, and end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from rushhour.process.meter import MeterReading
from rushhour.process.psutil_meters import MachineMeter, ProcessMeter, ProcessTreeMeter

BURN_S = 0.3
SOON_S = 30.0

# Each script waits for a line before it goes on, so that the test decides when things happen.
BURN = f"""
import time
def burn(seconds={BURN_S}):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
"""
CHILD_BURNS_AND_ENDS = (
    BURN
    + """
import os, sys
print("up", flush=True); sys.stdin.readline()
if os.fork() == 0:
    burn(); os._exit(0)
os.wait()
print("done", flush=True); sys.stdin.readline()
"""
)
# The one in the middle ends while its own child, which has burnt, lives on; then that one ends too.
MIDDLE_ENDS = (
    BURN
    + """
import os, sys
go_r, go_w = os.pipe(); up_r, up_w = os.pipe()
middle = os.fork()
if middle == 0:
    if os.fork() == 0:
        burn(); os.write(up_w, b"x"); os.read(go_r, 1); os._exit(0)
    sys.stdin.readline(); os._exit(0)
os.read(up_r, 1); print("burnt", flush=True)
os.waitpid(middle, 0); print("middle ended", flush=True)
sys.stdin.readline(); os.write(go_w, b"x"); print("released", flush=True)
sys.stdin.readline()
"""
)

# A grandchild burns; then it ends, its parent reaps it and ends, and is reaped in turn.
GENERATIONS_END = (
    BURN
    + """
import os, sys
go_r, go_w = os.pipe(); up_r, up_w = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        burn(); os.write(up_w, b"x"); os.read(go_r, 1); os._exit(0)
    os.wait(); os._exit(0)
os.read(up_r, 1); print("burnt", flush=True)
sys.stdin.readline(); os.write(go_w, b"x"); os.wait(); print("ended", flush=True)
sys.stdin.readline()
"""
)


@contextmanager
def running(script: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def until(meter: ProcessTreeMeter, reached: Callable[[MeterReading], bool]) -> MeterReading:
    deadline_s = time.monotonic() + SOON_S
    while not reached(reading := meter.read()):
        assert time.monotonic() < deadline_s, f"not reached within {SOON_S} s; last: {reading}"
        time.sleep(0.02)
    return reading


def test_what_a_child_used_is_kept_after_it_ended_and_never_seen_alive() -> None:
    with running(CHILD_BURNS_AND_ENDS) as process:
        assert says(process) == "up"
        meter = ProcessTreeMeter(process.pid, limit_cores=0.5)
        before = meter.read()
        go_on(process)
        assert says(process) == "done"
        after = meter.read()
    assert meter.limit_cores == 0.5
    assert after.cpu_s - before.cpu_s >= BURN_S * 0.9
    assert after.processes == 1
    assert after.rss_bytes > 1_000_000


def test_a_child_that_is_watched_until_it_ends_counts_once() -> None:
    with running(CHILD_BURNS_AND_ENDS) as process:
        assert says(process) == "up"
        meter = ProcessTreeMeter(process.pid)
        before = meter.read()
        go_on(process)
        seen = [before.cpu_s]
        both = until(meter, lambda reading: reading.processes == 2 or reading.cpu_s > before.cpu_s)
        seen.append(both.cpu_s)
        seen.append(until(meter, lambda reading: reading.processes == 1).cpu_s)
        assert says(process) == "done"
        seen += [meter.read().cpu_s for _ in range(3)]
    assert seen == sorted(seen)
    # Twice the burn would be the child's own use and the parent's count of it, added up.
    assert BURN_S * 0.9 <= seen[-1] - before.cpu_s < BURN_S * 1.9


def test_nothing_is_lost_or_counted_twice_when_the_process_in_the_middle_ends() -> None:
    with running(MIDDLE_ENDS) as process:
        meter = ProcessTreeMeter(process.pid)
        assert says(process) == "burnt"
        burnt = meter.read()
        assert burnt.processes == 3
        assert burnt.cpu_s >= BURN_S * 0.9
        go_on(process)
        assert says(process) == "middle ended"
        orphaned = meter.read()
        assert orphaned.processes == 2  # the orphan left the tree, and is still followed
        assert burnt.cpu_s <= orphaned.cpu_s < burnt.cpu_s + BURN_S * 0.5
        go_on(process)
        assert says(process) == "released"
        alone = until(meter, lambda reading: reading.processes == 1)
        assert orphaned.cpu_s <= alone.cpu_s < burnt.cpu_s + BURN_S * 0.5


def test_generations_that_end_between_two_readings_count_once() -> None:
    with running(GENERATIONS_END) as process:
        meter = ProcessTreeMeter(process.pid)
        assert says(process) == "burnt"
        burnt = meter.read()
        assert (burnt.processes, burnt.cpu_s >= BURN_S * 0.9) == (3, True)
        go_on(process)
        assert says(process) == "ended"
        ended = meter.read()
        assert ended.processes == 1
        assert burnt.cpu_s <= ended.cpu_s < burnt.cpu_s + BURN_S * 0.5


def test_an_ended_root_is_a_lookup_error_even_before_it_is_reaped() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        meter = ProcessTreeMeter(process.pid)
        alone = ProcessMeter(process.pid)
        meter.read()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has asked for it
        with pytest.raises(ProcessLookupError, match=f"process {process.pid} has ended"):
            meter.read()
        process.wait()
        with pytest.raises(ProcessLookupError, match="has ended"):
            meter.read()
        with pytest.raises(ProcessLookupError, match="has ended"):
            alone.read()
        with pytest.raises(ProcessLookupError, match="has ended"):
            ProcessTreeMeter(process.pid)


def test_the_harness_alone_leaves_out_its_children() -> None:
    meter = ProcessMeter()
    before = meter.read()
    used_s = time.process_time()
    subprocess.run([sys.executable, "-c", BURN + "burn()"], check=True)
    used_s = time.process_time() - used_s
    after = meter.read()
    assert after.processes == 1
    assert after.cpu_s - before.cpu_s < BURN_S * 0.5 + used_s


def test_the_machine_counts_what_its_processes_use() -> None:
    meter = MachineMeter()
    before = meter.read()
    subprocess.run([sys.executable, "-c", BURN + "burn()"], check=True)
    after = meter.read()
    assert after.cpu_s - before.cpu_s >= BURN_S * 0.5
    assert after.processes >= 1
    assert after.rss_bytes > 0
    assert meter.limit_cores is not None
    assert meter.limit_cores >= 1
