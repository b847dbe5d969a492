"""A run directory: its paths, and the files that are written whole."""

import dataclasses
import errno
import fcntl
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rushhour.errors import NotWrittenError, RunDataError
from rushhour.process.printable import shortened
from rushhour.process.regular import write_new
from rushhour.rundir.encoding import EVENTS, plain
from rushhour.rundir.losses import NOTIFICATIONS
from rushhour.rundir.masking import mask_urls
from rushhour.rundir.reading import parse_json, read_text

OWNER_ONLY: Final = 0o700  # logs of the service may hold its customers' data


def write_whole(texts: Mapping[Path, str]) -> None:
    """Write files so that each is new, or each is as it was: all are written beside their places first.

    Raises NotWrittenError, with the system's error as its cause.
    """
    temporary = {path: path.with_name(f".{path.name}.tmp") for path in texts}
    path = Path()
    try:
        for path, text in texts.items():
            if path.is_dir() and not path.is_symlink():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            write_new(temporary[path], text.encode())  # a stranger's directory may hold a link of that name
        for path in texts:
            temporary[path].replace(path)
    except OSError as error:
        raise NotWrittenError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            for left in temporary.values():
                left.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True, slots=True)
class RunDir:
    """The paths of a run, `runs/<start>-<scenario>/`."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def agent(self) -> Path:
        """The folder in which each process with an agent writes its file."""
        return self.path / "agent"

    @property
    def notifications(self) -> Path:
        """The folder of notifications, in runs with a real Alertmanager."""
        return self.file(NOTIFICATIONS)

    def file(self, name: str) -> Path:
        return self.path / name

    def write_json(self, name: str, content: Any) -> str:
        """Write a JSON file atomically; returns its text."""
        text = json_text(content)
        write_whole({self.file(name): text})
        return text

    def read_json(self, name: str) -> Any:
        """Read a JSON file. Raises RunDataError if it is missing or is not JSON."""
        text = read_text(self.file(name))
        if text is None:
            raise RunDataError(f"{self.file(name)}: missing; {self.path} is not a run directory")
        return parse_json(self.file(name), text)


def json_text(content: Any) -> str:
    """Return the text of a JSON file: dataclasses as objects, tuples as arrays, passwords in URLs masked."""
    text = json.dumps(content, indent=2, default=plain)
    if "\\ud" in text:  # perhaps half a sign, which what reads JSON refuses
        text = _of_whole_signs(json.dumps(content, indent=2, default=plain, ensure_ascii=False))
    return mask_urls(text) + "\n"


def _of_whole_signs(text: str) -> str:
    """Return text with signs that a locale could not read, as in the name of a folder, or without them."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # half of a pair
        return text.encode("utf-8", "replace").decode("utf-8")


def run_at(path: Path) -> RunDir:
    """Return the run at a path that a user gave. Raises RunDataError where there can be none."""
    try:
        resolved = path.resolve()
        resolved.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # reading it says what is missing
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise RunDataError(f"{shortened(path)}: no run directory: {why}") from None
    return RunDir(resolved)


def is_under_way(run: RunDir) -> bool:
    """Return whether a process still records this run; also True if that is unknown."""
    try:
        with run.file(EVENTS).open("rb") as events:
            fcntl.flock(events, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # held, or on a file system without locks
        return True
    return False


def create_run_dir(runs: Path, scenario: str) -> RunDir:
    """Make `runs/<UTC start>-<scenario>/`, which only its owner enters, and point `runs/latest` at it."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for attempt in range(100):
        path = runs / (f"{stamp}-{scenario}" + (f"-{attempt}" if attempt else ""))
        try:
            runs.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=OWNER_ONLY)
        except FileExistsError:
            continue
        link = runs / f".latest.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(runs / "latest")
        return RunDir(path)
    raise RunDataError(f"{runs}: a hundred runs of {scenario} started in this second")
