"""The agent's last words before `os._exit`."""

import os

import pytest

from rushhour.agent.start import _finish_before_os_exit


def test_a_signal_during_the_last_words_does_not_keep_the_process_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)

    def finish() -> None:
        raise KeyboardInterrupt  # as a handler of a signal does, wherever the main thread is

    _finish_before_os_exit(finish)
    with pytest.raises(KeyboardInterrupt):
        os._exit(3)
    assert codes == [3]
