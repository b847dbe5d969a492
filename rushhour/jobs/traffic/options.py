"""How a log is read: its format, what tells visitors apart, its time zone."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta, timezone, tzinfo
from typing import Final, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rushhour.errors import UsageError

KeyKind = Literal["auto", "address+agent", "address", "user", "header", "cookie"]
_PLAIN_KINDS: Final[tuple[KeyKind, ...]] = ("auto", "address+agent", "address", "user")
_OFFSET: Final = re.compile(r"[+-]\d\d:?\d\d", re.ASCII)
_T = TypeVar("_T")
SESSION_HELP: Final = "auto, address+agent, address, user, header:NAME, cookie:NAME"


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What tells visitors apart.

    `auto` takes a session cookie where the format logs it, else the user where the line has one, else address
    and agent together.
    """

    kind: KeyKind = "auto"
    name: str = ""  # of the header or cookie


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """Options of a reading; the default recognises everything from the log."""

    format: str | None = None  # a name of `choice.NAMES`; None: recognised from the first lines
    log_format: str | None = (
        None  # nginx's log_format, Apache's LogFormat, gunicorn's access_log_format, #Fields:
    )
    fields: Mapping[str, str] = field(default_factory=dict)  # of JSON lines: our name -> dotted path
    session: SessionKey = SessionKey()
    timezone: tzinfo | None = None  # of time stamps without an offset; None: UTC, and the report says so
    salt: bytes = field(default_factory=lambda: os.urandom(16), repr=False)  # of the visitors' hashes


def session_key(text: str) -> SessionKey:
    """A session key as `--session` takes it; raises UsageError for another."""
    kind, colon, name = text.partition(":")
    if kind in {"header", "cookie"} and name.strip():
        return SessionKey("header" if kind == "header" else "cookie", name.strip())
    plain: KeyKind | None = next((known for known in _PLAIN_KINDS if known == kind), None)
    if plain is None or colon:
        raise UsageError([f"--session {text}: unknown; known: {SESSION_HELP}"])
    return SessionKey(plain)


def field_map(pairs: Sequence[str]) -> dict[str, str]:
    """The map that `--field NAME=KEY`, given once or more, makes; raises UsageError for what is no pair."""
    split = [(pair, *pair.partition("=")) for pair in pairs]
    problems = [
        f"--field {pair}: must be NAME=KEY, as in --field status=response.code"
        for pair, name, _, key in split
        if not name.strip() or not key.strip()
    ]
    names = [name.strip() for _, name, _, _ in split]
    problems += [f"--field {name}: given twice" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise UsageError(problems)
    return {name.strip(): key.strip() for _, name, _, key in split}


def time_zone(text: str) -> tzinfo:
    """A zone as `--timezone` takes it: a name like Europe/Berlin, UTC, or an offset; raises UsageError."""
    if _OFFSET.fullmatch(text):
        minutes = int(text[1:3]) * 60 + int(text[-2:])
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        known = "a name like Europe/Berlin, UTC, or an offset like +02:00"
        raise UsageError([f"--timezone {text}: unknown; give {known}"]) from error


def reading_options(
    *,
    form: str | None = None,
    log_format: str | None = None,
    fields: Sequence[str] = (),
    session: str = "auto",
    zone: str | None = None,
) -> ReadingOptions:
    """Options as a command line gives them; raises UsageError with every problem."""
    problems: list[str] = []

    def tried(make: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return make()
        except UsageError as error:
            problems.extend(error.problems)
            return otherwise

    options = ReadingOptions(
        format=form,
        log_format=log_format,
        fields=tried(lambda: field_map(fields), {}),
        session=tried(lambda: session_key(session), SessionKey()),
        timezone=tried(lambda: time_zone(zone) if zone is not None else None, None),
    )
    if problems:
        raise UsageError(problems)
    return options
