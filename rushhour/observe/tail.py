"""Reads a growing file line by line, as its writer appends to it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from rushhour.process.regular import open_to_read

_CHUNK: Final = 1 << 20  # read per call at most, so that a huge backlog neither stalls nor swells the harness


class Tail:
    """Whole lines added to a file since the last call; a file that does not exist yet has none.

    The service under test may put anything into its place: a link is not followed, which raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._partial = b""

    def lines(self) -> list[str]:
        """New lines without their ends; starts over when the file was cut or replaced by a shorter one.

        Bytes that are not UTF-8 become replacement characters. What comes after the last line end is kept
        for the next call.
        """
        try:
            file = open_to_read(self._path)
        except FileNotFoundError:
            return []
        with file:
            if file.seek(0, 2) < self._offset:
                self._offset, self._partial = 0, b""
            file.seek(self._offset)
            new = file.read(_CHUNK)
        self._offset += len(new)
        *whole, self._partial = (self._partial + new).split(b"\n")
        if len(self._partial) > _CHUNK:  # not a line of text; keep its end, which may still become one
            self._partial = self._partial[-4096:]
        return [line.rstrip(b"\r").decode("utf-8", "replace") for line in whole]

    def rest(self, out_of_time: Callable[[], bool]) -> Iterator[list[str]]:
        """Yields the new lines up to the end that the file has at the first call, a portion at a time.

        Stops early as soon as `out_of_time` returns True: `unread` then says how many bytes are left.
        """
        end = self._offset + self.unread()
        while self._offset < end and not out_of_time():
            before = self._offset
            yield self.lines()
            if self._offset <= before:  # the file was cut meanwhile
                return

    def unread(self) -> int:
        """How many bytes the file holds that were not read; 0 when there is no file."""
        try:
            size = self._path.lstat().st_size
        except FileNotFoundError:
            return 0
        return size - self._offset if size >= self._offset else size
