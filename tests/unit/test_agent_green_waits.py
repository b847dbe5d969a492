"""Greenlets that wait for what another greenlet does, and those that wait for the world outside."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gevent
import gevent.event
import gevent.lock
import gevent.pool
import gevent.queue
import pytest
from gevent import socket as green_socket

from rushhour.agent import collector
from rushhour.agent.call_sites import Classifier
from rushhour.agent.cpu_shares import MAIN_THREAD
from rushhour.agent.frames import stack_of
from rushhour.agent.green import suspended_at, waiting_for
from rushhour.agent.inside import waits_inside
from rushhour.agent.loops import LoopWatch
from rushhour.agent.standing import Reader
from tests.unit.standing_subject import compiled

APP = "/srv/app/items.py"
READY = gevent.event.Event()


def a_full_queue() -> Any:
    full: gevent.queue.Queue[int] = gevent.queue.Queue(maxsize=1)
    full.put(1)
    return full


def a_taken_lock() -> Any:
    lock = gevent.lock.BoundedSemaphore(1)
    lock.acquire()
    return lock


INSIDE: dict[str, Callable[[], Any]] = {
    "thing.wait()": gevent.event.Event,
    "thing.get()": gevent.event.AsyncResult,
    "thing.get() ": gevent.queue.Queue,
    "thing.put(2)": a_full_queue,
    "thing.acquire()": a_taken_lock,
    "thing.join()": lambda: gevent.spawn(gevent.sleep, 5),
    "pool.spawn(print)": lambda: None,
}


def pool_without_a_place() -> Any:
    pool = gevent.pool.Pool(1)
    pool.spawn(gevent.sleep, 5)
    return pool


@pytest.mark.parametrize("call", INSIDE)
def test_a_wait_for_another_greenlet_is_one_within_the_process(call: str) -> None:
    item = compiled(f"def item(thing):\n    {call.strip()}\n", APP, "item", pool=pool_without_a_place())
    assert waits_inside(suspended(item, INSIDE[call]()), Classifier())


@pytest.mark.parametrize("call", ["sleep(5)", "thing.recv(1)"])
def test_a_greenlet_that_sleeps_or_reads_waits_for_the_world_outside(call: str) -> None:
    one, other = socket.socketpair()
    item = compiled(f"def item(thing):\n    {call}\n", APP, "item", sleep=gevent.sleep)
    with other, green_socket.socket(fileno=one.detach()) as thing:
        assert not waits_inside(suspended(item, thing), Classifier())


def suspended(function: Callable[[Any], None], thing: Any) -> list[Any]:
    greenlet = gevent.spawn(function, thing)
    gevent.sleep(0.01)
    try:
        return stack_of(suspended_at(greenlet))
    finally:
        greenlet.kill()


def test_a_greenlet_in_the_queue_is_waited_for_by_who_waits_for_the_global_that_it_sets() -> None:
    refresh = compiled("def refresh(wait):\n    wait()\n    READY.set()\n", APP, "refresh", READY=READY)
    item = compiled("def item():\n    READY.wait()\n", APP, "item", READY=READY)
    other = compiled("def other(wait):\n    wait()\n    READY.is_set()\n", APP, "other", READY=READY)
    workers = [gevent.spawn(function, gevent.event.Event().wait) for function in (refresh, other)]
    pause = compiled("def pause():\n    READY.wait(9)\n", APP, "pause", READY=READY)  # may only pass the time
    asker, pauses = gevent.spawn(item), gevent.spawn(pause)
    gevent.sleep(0.01)
    try:
        assert set(waiting_for(workers[:1], serves=True)) == {id(asker)}
        assert set(waiting_for(workers[:1])) == set()  # it may wait for its next item
        assert set(waiting_for(workers[1:], serves=True)) == set()
    finally:
        gevent.killall([*workers, asker, pauses])


@pytest.mark.parametrize(
    ("module", "variable"), [("gevent.monkey", "saved"), ("eventlet.patcher", "already_patched")]
)
def test_a_library_that_has_patched_the_standard_library_runs_all_in_the_main_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, variable: str
) -> None:
    for name in ("gevent.monkey", "eventlet.patcher"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert LoopWatch(Classifier(), Reader(Classifier()), set()).threads() == []
    monkeypatch.setattr(sys.modules[module], variable, {"time": True}, raising=False)
    assert LoopWatch(Classifier(), Reader(Classifier()), set()).threads() == [MAIN_THREAD]
    started: list[object] = []
    monkeypatch.setattr(collector, "_start_thread", lambda *arguments: started.append(arguments))
    (tmp_path / "collect").touch()
    asked = collector.Collector(str(tmp_path))
    for _ in range(collector.LOOK_EVERY):
        asked.poll()
    assert started == []
