"""Reads a run's files, whatever has become of them: a RunDataError names the file and line."""

import json
import stat
from collections.abc import Hashable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from rushhour.errors import RunDataError

T = TypeVar("T")

LINE_BYTES: Final = 4_000_000  # the longest line of a run has some 100,000
FILE_BYTES: Final = 32_000_000  # of a file that is one JSON value
MOST_S: Final = 1_000_000.0  # no run lasts eleven days; a time beyond makes every series endless
MOST: Final = 1e15  # no figure of a run is larger

_SHOWN: Final = 80


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines that are not blank, with their numbers; nothing where there is no file.

    A last line without an end is left out: its process was killed while it wrote. Never holds more than one
    line in memory. Raises RunDataError.
    """
    if not _is_there(path):
        return
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_BYTES + 1):
                number += 1
                if len(line) > LINE_BYTES:
                    raise RunDataError(f"{path}:{number}: the line is longer than {LINE_BYTES:,} bytes")
                if b"\0" in line:
                    raise RunDataError(
                        f"{path}:{number}: NUL bytes: this is not text, or the machine went down before the "
                        "file was on the disk; remove the line to judge what is left"
                    )
                if not line.endswith(b"\n"):
                    return
                if row := line.strip():
                    yield number, row
    except OSError as error:
        raise RunDataError(f"{path}: {error.strerror}") from None


def read_bytes(path: Path) -> bytes | None:
    """The content of a small file; None where there is no file. Raises RunDataError."""
    if not _is_there(path):
        return None
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise RunDataError(f"{path}: {error.strerror}") from None
    if len(content) > FILE_BYTES:
        raise RunDataError(f"{path}: larger than {FILE_BYTES:,} bytes")
    return content


def read_text(path: Path) -> str | None:
    """The text of a small file; None where there is no file. Raises RunDataError."""
    content = read_bytes(path)
    if content is None:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RunDataError(f"{path}:{line}: not UTF-8 text") from None


def parse_json(path: Path, text: str) -> Any:
    """Any JSON value without NaN and Infinity. Raises RunDataError."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise RunDataError(f"{path}: not JSON: {error}") from None


def read_object(path: Path, adapter: TypeAdapter[T]) -> T | None:
    """A file that is one JSON object of that type; None where there is no file. Raises RunDataError."""
    text = read_text(path)
    if text is None:
        return None
    parse_json(path, text)
    try:
        made = adapter.validate_json(text)
    except ValidationError as error:
        raise RunDataError(f"{path}: {_first(error)}") from None
    return made


def read_row(path: Path, number: int, line: bytes, adapter: TypeAdapter[T], what: str) -> T:
    """The fact in a line. Raises RunDataError."""
    try:
        made = adapter.validate_json(line, strict=True)
    except ValidationError as error:
        _refuse(path, number, line, what, _first(error))
    if b"NaN" in line or b"Infinity" in line:
        _refuse_constants(path, number, line, what)
    kind: Any = type(made)
    for name in _numbers(kind):
        value = getattr(made, name)
        if value is not None and not -MOST < value < MOST:
            _refuse(path, number, line, what, f"{name} is {value:g}")
    t_s = getattr(made, "t_s", 0.0)
    if not -MOST_S < t_s < MOST_S:
        _refuse(path, number, line, what, f"t_s is {t_s:g}: no run lasts {MOST_S:,.0f} s")
    return made


def _is_there(path: Path) -> bool:
    """Whether there is a file to read. Raises RunDataError for a folder, a device, a link to nothing."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise RunDataError(f"{path}: a link to {path.readlink()}, which is not there") from None
        return False
    except OSError as error:
        raise RunDataError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise RunDataError(f"{path}: {what}, where a file should be")
    return True


@cache
def _numbers(kind: Hashable) -> tuple[str, ...]:
    """Fields of a fact that hold a plain number, or nothing."""
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return ()
    plain = {int, float, int | None, float | None}
    return tuple(column.name for column in fields(kind) if column.type in plain)


def _refuse_constants(path: Path, number: int, line: bytes, what: str) -> None:
    """Raises RunDataError when NaN or Infinity stands in the line as a number; as text they do no harm."""

    def refuse(name: str) -> NoReturn:
        _refuse(path, number, line, what, f"{name} is no number")

    json.loads(line, parse_constant=refuse)


def _refuse(path: Path, number: int, line: bytes, what: str, why: str) -> NoReturn:
    shown = line[:_SHOWN].decode("utf-8", "replace") + ("..." if len(line) > _SHOWN else "")
    raise RunDataError(f"{path}:{number}: not a {what}: {why}: {shown!r}")


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
