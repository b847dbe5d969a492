"""Manifests: what each writer has put into a run's files, so that lost rows are detected.

Each writer has its own file in `manifest/`, because several processes append to events.jsonl without knowing
the rows of the others. The digests of rows are summed, in any order, so the sum over all writers is that of
the file. Files written atomically (scenario.json, environment.json) are listed with the digest of their
content.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from rushhour.errors import RunDataError
from rushhour.rundir.reading import read_object

FOLDER: Final = "manifest"
WRITTEN_WHOLE: Final = ("scenario.json", "environment.json")
EVERY_S: Final = 1.0
_DIGEST: Final = 1 << 64
_NUMBER: Final = count(1)  # of the writers of this process


@dataclass(slots=True)
class Rows:
    """The rows of a file: their number, first and last time, and the sum of their digests."""

    rows: int = 0
    first_t_s: float | None = None
    last_t_s: float | None = None
    digest: int = 0

    def add(self, line: bytes, t_s: float | None) -> None:
        self.rows += 1
        self.digest = (self.digest + digest_of(line)) % _DIGEST
        if t_s is not None:
            self.first_t_s = t_s if self.first_t_s is None else min(self.first_t_s, t_s)
            self.last_t_s = t_s if self.last_t_s is None else max(self.last_t_s, t_s)


@dataclass(frozen=True, slots=True)
class Manifest:
    """manifest/*.json: what a writer wrote; it may have written more if it is not `closed`."""

    closed: bool
    files: Mapping[str, Rows]
    requests: int = 0  # ended requests, from the rows of requests.jsonl
    started: int = 0  # requests sent, as counted by the generator
    whole: Mapping[str, str] = field(default_factory=dict)  # file written atomically -> digest of its content


@dataclass(slots=True)
class Ledger:
    """Keeps the manifest of a writer; not thread-safe."""

    run: Path
    files: dict[str, Rows] = field(default_factory=dict)
    requests: int = 0
    started: int = 0
    whole: dict[str, str] = field(default_factory=dict)
    _name: str = field(default_factory=lambda: f"{os.getpid()}-{next(_NUMBER)}.json")
    _written_s: float = -EVERY_S
    _closed: bool = False

    def add(self, name: str, lines: Iterable[tuple[str, float | None]]) -> None:
        """Add rows that were just written to a file, with their times."""
        rows = self.files.setdefault(name, Rows())
        for line, t_s in lines:
            rows.add(line.encode(), t_s)

    def set_rows(self, name: str, lines: Iterable[bytes]) -> None:
        """Record all current rows of a file whose writer keeps no manifest."""
        self.files.pop(name, None)
        for line in lines:
            self.files.setdefault(name, Rows()).add(line, None)

    def add_whole(self, name: str, content: bytes) -> None:
        """Add a file that was just written atomically."""
        self.whole[name] = content_digest(content)

    def save(self, *, closed: bool = False, now: bool = False) -> None:
        """Write the manifest atomically, at most once a second unless `now` is set.

        If it cannot be written, it does not cover the latest rows, which the check of the run then reports.
        """
        reopened = self._closed and not closed  # a manifest saved as closed must be saved again
        if not (closed or now or reopened) and time.monotonic() - self._written_s < EVERY_S:
            return
        self._written_s, self._closed = time.monotonic(), closed
        path = self.run / FOLDER / self._name
        manifest = Manifest(closed, self.files, self.requests, self.started, self.whole)
        with suppress(OSError):  # a full disk, say: writing the facts then fails and is reported
            path.parent.mkdir(exist_ok=True)
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(asdict(manifest)), encoding="utf-8")
            temporary.replace(path)


_MANIFEST: Final = TypeAdapter(Manifest)


def digest_of(line: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(line, digest_size=8).digest())


def content_digest(content: bytes) -> str:
    """Return the digest of a file's bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def read_manifests(run: Path) -> Sequence[Manifest]:
    """Read the manifests of all writers; empty for older runs. Raises RunDataError."""
    folder = run / FOLDER
    if not folder.exists() and not folder.is_symlink():
        return ()
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise RunDataError(f"{folder}: {error.strerror}") from None
    found = (read_object(path, _MANIFEST, digests=True) for path in paths)
    return [manifest for manifest in found if manifest is not None]
