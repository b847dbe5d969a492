"""The CPU share of a thread, read from Linux."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rushhour.agent.cpu_shares import CpuShare

DEADLINE_S = 10.0


@contextmanager
def thread_that(does: Callable[[threading.Event], None]) -> Iterator[threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=does, args=(stop,))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(DEADLINE_S)


def waits(stop: threading.Event) -> None:
    stop.wait(DEADLINE_S)


def computes(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(100))


def clocks() -> set[str]:
    """The numbers of the clocks' open files."""
    return {file.name for file in Path("/proc/self/fd").iterdir() if target(file).endswith("/schedstat")}


def target(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:  # of the listing itself
        return ""


def reading(share: CpuShare) -> float | None:
    share.read()
    return share.now


def share_of(thread: threading.Thread) -> tuple[float, float]:
    """Of the thread, and of this whole process: on a busy machine nobody has a core."""
    share = CpuShare(thread.ident or 0)
    assert reading(share) is None  # one reading says nothing
    began_s, used_s = time.monotonic(), time.process_time()
    time.sleep(0.3)
    found, whole = reading(share), (time.process_time() - used_s) / (time.monotonic() - began_s)
    share.close()
    assert found is not None
    return found, whole


def test_a_thread_that_computes_has_a_share_and_one_that_waits_has_none() -> None:
    with thread_that(waits) as waiting, thread_that(computes) as computing:
        assert share_of(waiting)[0] < 0.1
        found, whole = share_of(computing)
        assert found > whole / 2 > 0


def test_a_thread_that_has_ended_is_unknown_and_leaves_no_file_open() -> None:
    before = clocks()
    with thread_that(waits) as thread:
        share = CpuShare(thread.ident or 0)
        assert reading(share) is None
        assert reading(share) is not None
    deadline = time.monotonic() + DEADLINE_S
    while reading(share) is not None:  # the kernel may not have forgotten it yet
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert clocks() == before


def test_a_file_that_took_the_number_of_its_own_stays_open(tmp_path: Path) -> None:
    """As after a service that closes all files when it becomes a daemon."""
    with thread_that(waits) as thread:
        before = clocks()
        share = CpuShare(thread.ident or 0)
        share.read()
        [number] = map(int, clocks() - before)
        with (tmp_path / "own").open("w") as own:
            os.dup2(own.fileno(), number)
            assert reading(share) is None
            os.write(number, b"still there")
        os.close(number)
    assert (tmp_path / "own").read_text() == "still there"


@pytest.mark.parametrize("number", [0, 2**62])
def test_a_thread_that_is_not_known_is_unknown(number: int) -> None:
    share = CpuShare(number)
    assert [reading(share), reading(share)] == [None, None]
