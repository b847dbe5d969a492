"""Reads a run's files, which may be damaged: a RunDataError names the file and line."""

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

LINE_BYTES: Final = 4_000_000  # limit of a line; the longest have about 100,000 bytes
FILE_BYTES: Final = 32_000_000  # limit of a file that is a single JSON value
MOST_S: Final = 1_000_000.0  # largest time (11 days); a larger time would make series endless
MOST: Final = 1e15  # largest figure

_SHOWN: Final = 80


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the complete lines that are not blank, with their numbers; nothing if there is no file.

    A last line without a line end is left out: its process was killed while writing. At most one line is in
    memory at a time. Raises RunDataError.
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
    """Read a small file as bytes; None if there is no file. Raises RunDataError."""
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
    """Read a small file as text; None if there is no file. Raises RunDataError."""
    content = read_bytes(path)
    if content is None:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RunDataError(f"{path}:{line}: not UTF-8 text") from None


def parse_json(path: Path, text: str) -> Any:
    """Parse JSON that may not contain NaN or Infinity. Raises RunDataError."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise RunDataError(f"{path}: not JSON: {error}") from None


def read_object(path: Path, adapter: TypeAdapter[T]) -> T | None:
    """Read a file that is a JSON object of a type; None if there is no file. Raises RunDataError."""
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
    """Parse the fact in a line. Raises RunDataError."""
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
    """Return whether the file exists. Raises RunDataError for folders, devices and broken links."""
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
    """Return the fields of a fact whose type is a number or an optional number."""
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return ()
    plain = {int, float, int | None, float | None}
    return tuple(column.name for column in fields(kind) if column.type in plain)


def _refuse_constants(path: Path, number: int, line: bytes, what: str) -> None:
    """Raise RunDataError if a line contains NaN or Infinity as a number; as text they are allowed."""

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
