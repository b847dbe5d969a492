"""A lock that says who holds it; the kernel frees it when its holder ends, however that ends."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

from rushhour.errors import UnavailableError
from rushhour.process.waiting import came_true


@contextmanager
def held(path: Path, what: str, *, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold a lock while doing `what`. Raises UnavailableError that names the holder, and since when."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not came_true(lambda: _take(file), timeout_s):
            raise UnavailableError(f"{_holder(file)} holds {path}")
        since = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"what": what, "pid": os.getpid(), "host": socket.gethostname(), "since": since}
        file.truncate(0)
        file.write(json.dumps(about) + "\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _take(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: TextIO) -> str:
    file.seek(0)
    try:
        about = json.loads(file.read())
        since = datetime.fromisoformat(about["since"])
        return (
            f"another {about['what']} (process {about['pid']} on {about['host']}, since {about['since']}, "
            f"{_long(datetime.now(UTC) - since)})"
        )
    except (ValueError, KeyError, TypeError):  # it has just begun, and has not written yet
        return "another process, which has not said yet what it does,"


def _long(age: timedelta) -> str:
    seconds = max(0, round(age.total_seconds()))
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"for {hours} h {minutes % 60} min"
    return f"for {minutes} min" if minutes else f"for {seconds} s"
