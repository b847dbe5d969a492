"""The file of one process: JSON lines, each written at once and whole."""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from .own_files import open_to_append

Record = Mapping[str, Any]  # one of records.py

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Journal:
    """Appends records to `<directory>/<pid>.jsonl`; raises OSError where that is not possible.

    Bare file descriptors: no buffer that a fork could double, no lock, nothing that gevent patches.
    """

    def __init__(self, directory: str, pid: int) -> None:
        self._descriptor = open_to_append(os.path.join(directory, f"{pid}.jsonl"))

    def write(self, records: Iterable[Record]) -> None:
        data = "".join(_encode(record) + "\n" for record in records).encode()
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        os.close(self._descriptor)


class NoJournal:
    """In its place where only metrics are wanted: a file that grows for months is no use to anyone."""

    def write(self, records: Iterable[Record]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def say(text: str) -> None:
    """One line on stderr, if there is one."""
    with suppress(OSError):
        os.write(2, f"rushhour agent: {text}\n".encode())
