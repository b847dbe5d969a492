"""The sampler's thread, and the last sample of a process."""

import json
import threading
from pathlib import Path

import pytest

from rushhour.agent.book import Book
from rushhour.agent.call_sites import Classifier
from rushhour.agent.journal import Journal
from rushhour.agent.sampler import PAUSE_DEADLINE_S, Sampler

DEADLINE_S = 60.0


def test_the_last_sample_waits_for_a_write_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that stands still: without its last record, a process counts as killed."""
    sampler = Sampler(Book(), Classifier(), str(tmp_path), lambda: None)
    sampler.announce()
    begun, disk_is_free, write = threading.Event(), threading.Event(), Journal.write

    def slow_write(journal: Journal, records: list[object]) -> None:
        begun.set()
        assert disk_is_free.wait(DEADLINE_S)
        write(journal, records)  # type: ignore[arg-type]  # they are records

    monkeypatch.setattr(Journal, "write", slow_write)
    sampler.ensure_running()
    assert begun.wait(DEADLINE_S)
    later = threading.Timer(5 * PAUSE_DEADLINE_S, disk_is_free.set)
    later.start()
    sampler.finish()
    later.join()
    [file] = tmp_path.glob("*.jsonl")
    kinds = [json.loads(line)["k"] for line in file.read_text().splitlines()]
    assert (kinds[-1], kinds.count("exit")) == ("exit", 1)
    sampler.finish()
    assert file.read_text().count('"exit"') == 1


def test_a_signal_during_the_last_sample_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handler runs in the thread that writes: `os._exit` there finishes once more."""
    sampler = Sampler(Book(), Classifier(), str(tmp_path), lambda: None)
    sampler.ensure_running()
    kinds: list[object] = []

    def interrupted_write(_: Journal, records: list[dict[str, object]]) -> None:
        if any(record["k"] == "exit" for record in records):
            sampler.finish()
        kinds.extend(record["k"] for record in records)

    monkeypatch.setattr(Journal, "write", interrupted_write)
    monkeypatch.setattr("rushhour.agent.sampler.LAST_DEADLINE_S", threading.TIMEOUT_MAX)  # it would never end
    sampler.finish()
    assert kinds.count("exit") == 1
