"""Writes the file of a process: JSON lines, each written by a single system call."""

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
    """Discards records if only metrics are wanted, so that no file grows for months."""

    def write(self, records: Iterable[Record]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def say(text: str) -> None:
    """Write a line to stderr, if there is one."""
    with suppress(OSError):
        os.write(2, f"rushhour agent: {text}\n".encode())
