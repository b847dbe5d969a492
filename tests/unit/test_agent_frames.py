"""Garbage is collected as before once the frames of other threads have been read."""

import gc
import sys

import pytest

from rushhour.agent.frames import Uninterrupted, collect_again

READS_IN_C = sys.version_info < (3, 12)  # where a collection may start inside of what reads a frame


def test_no_collection_starts_while_frames_are_read() -> None:
    assert gc.isenabled()
    with Uninterrupted():
        assert gc.isenabled() is not READS_IN_C
        with Uninterrupted():  # another thread's
            pass
        assert gc.isenabled() is not READS_IN_C
    assert gc.isenabled()


def test_collections_start_again_when_reading_fails() -> None:
    with pytest.raises(RuntimeError, match="unreadable"), Uninterrupted():
        raise RuntimeError("unreadable")
    assert gc.isenabled()


def test_a_service_that_collects_by_itself_goes_on_to_do_so() -> None:
    gc.disable()
    try:
        with Uninterrupted():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_child_that_was_forked_meanwhile_collects() -> None:
    with Uninterrupted():
        collect_again()
        assert gc.isenabled()
    assert gc.isenabled()
