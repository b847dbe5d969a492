"""Which file of this machine a file in a container is: by its mounts, else by its path and content."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from rushhour.stack.compose_service.user_file import Bind

LOOKED_AT: Final = 20_000  # files of a folder
_SKIPPED: Final = frozenset({"node_modules", "__pycache__", "site-packages", "venv"})


class Sources:
    """Finds each file once. `read` gives a file's bytes in the container, None where there are none.

    A mounted file is the local one. One that was copied into the image is looked for in `folders`, and taken
    only where the bytes are the same: an excerpt of the report is never of another version.
    """

    def __init__(
        self, root: Path, binds: Sequence[Bind], folders: Sequence[Path], read: Callable[[str], bytes | None]
    ) -> None:
        self._root = root.resolve()
        # The longest first: a mount may lie within another.
        self._binds = sorted(binds, key=lambda bind: len(bind.inside.parts), reverse=True)
        self._folders = tuple(dict.fromkeys(folder.resolve() for folder in folders))
        self._read = read
        self._known: dict[str, str] = {}

    def local(self, file: str) -> str:
        """Return a path relative to the root; the container's path where no such file is below it."""
        if file not in self._known:
            self._known[file] = self._find(file)
        return self._known[file]

    def _find(self, file: str) -> str:
        inside = PurePosixPath(file)
        if not inside.is_absolute():
            return file
        found = self._mounted(inside) or self._copied(inside)
        if found is None or not found.resolve().is_relative_to(self._root):
            return file
        return found.resolve().relative_to(self._root).as_posix()

    def _mounted(self, inside: PurePosixPath) -> Path | None:
        for bind in self._binds:
            if inside.is_relative_to(bind.inside):
                local = bind.local / inside.relative_to(bind.inside)
                return local if local.is_file() else None
        return None

    def _copied(self, inside: PurePosixPath) -> Path | None:
        content = self._read(str(inside)) if self._folders else None
        if content is None:
            return None
        return next((candidate for candidate in self._candidates(inside) if _holds(candidate, content)), None)

    def _candidates(self, inside: PurePosixPath) -> Iterator[Path]:
        parts = inside.parts[1:]
        for folder in self._folders:
            for first in range(len(parts)):
                yield folder.joinpath(*parts[first:])
            named = sorted(
                _named(folder, inside.name),
                key=lambda candidate: (-_alike(candidate, inside), len(candidate.parts)),
            )
            yield from named


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _alike(path: Path, inside: PurePosixPath) -> int:
    """Return how many of the last folders have the same names."""
    pairs = zip(reversed(path.parts), reversed(inside.parts), strict=False)
    return next((number for number, (part, other) in enumerate(pairs) if part != other), 0)


def _named(folder: Path, name: str) -> Iterator[Path]:
    seen = 0
    for place, folders, files in os.walk(folder):
        folders[:] = [
            folder_name
            for folder_name in folders
            if not folder_name.startswith(".") and folder_name not in _SKIPPED
        ]
        seen += len(files)
        if seen > LOOKED_AT:
            return
        if name in files:
            yield Path(place, name)
