"""The lines of a log file: plain or compressed, of any encoding, never more of it in memory than a part."""

import bz2
import codecs
import lzma
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from rushhour.errors import UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STDIN: Final = "-"
LONGEST_LINE: Final = 65_536  # characters; servers limit a request line to 8 to 64 kB
COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal
_CHUNK: Final = 1 << 18
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the interface that the others have."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self._full = False  # it may hold more than it gave

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        text = self._zlib.decompress(self._zlib.unconsumed_tail + data, max(max_length, 0))
        self._full = len(text) == max_length
        return text


_MAGIC: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_BROKEN: Final = (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError)


def _decompressor(kind: str) -> _Decompressor:
    match kind:
        case "gzip":
            return _Gzip()
        case "bzip2":
            return bz2.BZ2Decompressor()
        case "xz":
            return lzma.LZMADecompressor()
        case _:
            return zstd.ZstdDecompressor()


class LogFile:
    """A log as blocks of lines; `problem` says afterwards why it ended too early, if it did."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.bytes_done = 0
        self.problem: str | None = None

    def blocks(self) -> Iterator[list[str | None]]:
        """Lines without their ends and colours; None stands for a line that is longer than LONGEST_LINE.

        Bytes that are not of the encoding become `\\xNN`, as servers write them. Raises UsageError
        for a file that cannot be opened.
        """
        if self.path == STDIN:
            if sys.stdin is None:
                raise UsageError(['"-": there is no standard input'])
            yield from self._split(self._texts(sys.stdin.buffer))
            return
        try:
            file = Path(self.path).open("rb")  # noqa: SIM115  # closed below; opening has its own error
        except OSError as error:
            raise UsageError([f"{self.path}: cannot be read: {error.strerror}"]) from error
        with file:
            yield from self._split(self._texts(file))

    def _texts(self, file: BinaryIO) -> Iterator[str]:
        decoder: codecs.IncrementalDecoder | None = None
        for data in self._unpacked(file):
            chunk = data
            if decoder is None:
                bom, encoding = next((known for known in _BOMS if chunk.startswith(known[0])), (b"", "utf-8"))
                decoder = codecs.getincrementaldecoder(encoding)("backslashreplace")
                chunk = chunk[len(bom) :]
            yield decoder.decode(chunk)
        if decoder is not None:
            yield decoder.decode(b"", final=True)

    def _unpacked(self, file: BinaryIO) -> Iterator[bytes]:
        read = getattr(file, "read1", file.read)  # a pipe's lines come as they are written
        try:
            data: bytes = read(_CHUNK)
            while data and len(data) < 6:  # of a slow pipe
                more = read(_CHUNK)
                if not more:
                    break
                data += more
            kind = next((name for magic, name in _MAGIC if data.startswith(magic)), None)
            if kind is not None:
                yield from self._decompressed(kind, data, file)
                return
            while data:
                self.bytes_done += len(data)
                yield data
                data = read(_CHUNK)
        except OSError as error:
            self.problem = f"reading stopped: {error.strerror or error}"

    def _decompressed(self, kind: str, start: bytes, file: BinaryIO) -> Iterator[bytes]:
        stream, data = _decompressor(kind), start
        self.bytes_done = len(start)
        while True:
            try:
                text = stream.decompress(data, _CHUNK)
            except _BROKEN as error:
                self.problem = (
                    f"damaged {kind} data after {self.bytes_done:,} bytes ({error}); read up to there"
                )
                return
            if text:
                yield text
            data = b""
            if stream.eof:
                data = stream.unused_data.lstrip(b"\0")  # archives may be padded
                if not data:
                    data = file.read(_CHUNK)
                    self.bytes_done += len(data)
                    if not data:
                        return
                stream = _decompressor(kind)
            elif stream.needs_input:
                data = file.read(_CHUNK)
                self.bytes_done += len(data)
                if not data:
                    self.problem = f"the {kind} data ends too early (after {self.bytes_done:,} bytes)"
                    return

    def _split(self, texts: Iterator[str]) -> Iterator[list[str | None]]:
        rest, too_long = "", False
        for text in texts:
            chunk = text
            if too_long:  # its start was given as None already
                end = chunk.find("\n")
                if end < 0:
                    continue
                chunk, too_long = chunk[end + 1 :], False
            whole, newline, rest = (rest + chunk).rpartition("\n")
            lines: list[str | None] = []
            if newline:
                lines += _plain(whole).split("\n")
            if len(rest) > LONGEST_LINE + 1:  # it may end with a carriage return
                lines.append(None)
                rest, too_long = "", True
            if lines:
                yield [None if line and len(line) > LONGEST_LINE else line for line in lines]
        if rest and not too_long:
            yield [None if len(rest) > LONGEST_LINE else _plain(rest)]


def _plain(text: str) -> str:
    if "\x1b" in text:
        text = COLOURS.sub("", text)
    return (text.replace("\r\n", "\n") if "\r" in text else text).removesuffix("\r")
