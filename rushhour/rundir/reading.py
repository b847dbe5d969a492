"""Reads a run's files, which may be damaged: a RunDataError names the file and line."""

import json
import os
import stat
from collections.abc import Callable, Hashable, Iterator, Mapping
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

MOST_NAMES: Final = 10_000  # of endpoints, pools and the like: a name for each id is a mistake

_SHOWN: Final = 80
_SHORT: Final = 24
_DIGITS: Final = 17  # characters of a whole number, from which on it is beyond MOST
_ALIKE: Final = bytes.maketrans(b"123456789E", b"000000000e")
_MANY_DIGITS: Final = b"0" * 16
_COUNTS: Final = frozenset(
    {
        "count",
        "users",
        "started",
        "retries",
        "redirected",
        "arrived",
        "turned_away",
        "due",
        "no_file",
        "no_port",
        "no_memory",
    }
)
_DURATIONS: Final = frozenset({"held_s", "max_hold_s", "waited_s", "longest_s"})
_NAMES: Final = ("endpoint", "pool", "worker", "component", "server")


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the complete lines that are not blank, with their numbers; nothing if there is no file.

    A last line without a line end is left out: its process was killed while writing. At most one line is in
    memory at a time. Raises RunDataError.
    """
    if not _is_there(path):
        return
    try:
        with open(path, "rb", opener=_without_waiting) as file:
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
        with open(path, "rb", opener=_without_waiting) as file:
            content = file.read(FILE_BYTES + 1) or b""
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


def read_object(path: Path, adapter: TypeAdapter[T], *, digests: bool = False) -> T | None:
    """Read a file that is a JSON object of a type; None if there is no file. Raises RunDataError.

    With `digests` its numbers may be larger than any figure of a run.
    """
    text = read_text(path)
    if text is None:
        return None
    parse_json(path, text)

    def refuse(problem: str) -> NoReturn:
        raise RunDataError(f"{path}: {problem}")

    if not digests and _is_suspect(content := text.encode()):
        _check_numbers(content, refuse)
    try:
        made = adapter.validate_json(text)
    except ValidationError as error:
        raise RunDataError(f"{path}: {first_problem(error)}") from None
    return made


def read_row(path: Path, number: int, line: bytes, adapter: TypeAdapter[T], what: str) -> T:
    """Parse the fact in a line. Raises RunDataError."""
    try:
        made = adapter.validate_json(line, strict=True)
    except ValidationError as error:
        _refuse(path, number, line, what, first_problem(error))
    if _is_suspect(line):
        _check_numbers(line, lambda problem: _refuse(path, number, line, what, problem))
    kind: Any = type(made)
    for name, least in _numbers(kind):
        value = getattr(made, name)
        if value is not None and not least <= value < MOST:
            _refuse(path, number, line, what, f"{name} is {_short(value)}")
    for name in _histograms(kind):
        for bound, count in getattr(made, name).items():
            if not (0 < bound < MOST and 0 <= count < MOST):
                _refuse(path, number, line, what, f"{name} has {_short(count)} at {_short(bound)}")
    t_s = getattr(made, "t_s", 0.0)
    if not -MOST_S < t_s < MOST_S:
        _refuse(path, number, line, what, f"t_s is {_short(t_s)}: no run lasts {MOST_S:,.0f} s")
    return made


class Names:
    """Counts the different endpoints, pools and the like of a file: they have to fit into a page."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[str, set[str]] = {name: set() for name in _NAMES}

    def add(self, number: int, fact: object) -> None:
        """Take the names of a row. Raises RunDataError when there are too many."""
        kind: Any = type(fact)
        for field in _named(kind):
            seen = self._seen[field]
            seen.add(getattr(fact, field))
            if len(seen) > MOST_NAMES:
                raise RunDataError(
                    f"{self._path}:{number}: more than {MOST_NAMES:,} different names of {field}s; where ids "
                    "are a part of them, give requests a name: client.get(path, name='/orders/:id')"
                )


def _without_waiting(path: str, flags: int) -> int:
    """Open a file so that reading never waits, as it would behind a link to /proc/kmsg."""
    return os.open(path, flags | os.O_NONBLOCK)


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
def _named(kind: Hashable) -> tuple[str, ...]:
    """Return the fields of a fact that name something."""
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return ()
    return tuple(column.name for column in fields(kind) if column.name in _NAMES)


@cache
def _numbers(kind: Hashable) -> tuple[tuple[str, float], ...]:
    """Return the fields of a fact whose type is a number or an optional number, and the least of each."""
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return ()
    plain = {int, float, int | None, float | None}
    return tuple((column.name, _least(column.name)) for column in fields(kind) if column.type in plain)


def _least(name: str) -> float:
    """Return the least value of a field: counts are never negative, nor are durations beyond rounding."""
    if name in _COUNTS:
        return 0.0
    return -1.0 if name in _DURATIONS or name.endswith("_ms") else -MOST


@cache
def _histograms(kind: Hashable) -> tuple[str, ...]:
    """Return the fields of a fact that map an upper bound to a count."""
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return ()
    return tuple(column.name for column in fields(kind) if column.type == Mapping[int, int])


def _is_suspect(text: bytes) -> bool:
    """Return whether a text may hold NaN, Infinity or a large figure, in a microsecond a row."""
    alike = text.translate(_ALIKE)
    return (
        _MANY_DIGITS in alike or b"0e0" in alike or b"0e+0" in alike or b"NaN" in text or b"Infinity" in text
    )


def _check_numbers(text: bytes, problem: Callable[[str], NoReturn]) -> None:
    """Call `problem` for NaN, Infinity and a figure of MOST or more, however deep it lies."""

    def refuse(number: str) -> NoReturn:
        problem(f"{_short(number)} is no number that a run has")

    def whole(number: str) -> int:
        return value if len(number) < _DIGITS and abs(value := int(number)) < MOST else refuse(number)

    def fraction(number: str) -> float:
        return value if -MOST < (value := float(number)) < MOST else refuse(number)

    json.loads(text, parse_constant=refuse, parse_int=whole, parse_float=fraction)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def _refuse(path: Path, number: int, line: bytes, what: str, why: str) -> NoReturn:
    shown = line[:_SHOWN].decode("utf-8", "replace") + ("..." if len(line) > _SHOWN else "")
    raise RunDataError(f"{path}:{number}: not a {what}: {why}: {shown!r}")


def first_problem(error: ValidationError) -> str:
    """Say what is wrong first, and where in the object."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
