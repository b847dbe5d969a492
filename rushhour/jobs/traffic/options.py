"""How a log is read: its format, what tells visitors apart, its time zone."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Final, Literal

KeyKind = Literal["auto", "address+agent", "address", "user", "header", "cookie"]
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

    format: str | None = None  # a name of `formats.NAMES`; None: recognised from the first lines
    log_format: str | None = (
        None  # nginx's log_format, Apache's LogFormat, gunicorn's access_log_format, #Fields:
    )
    fields: Mapping[str, str] = field(default_factory=dict)  # of JSON lines: our name -> dotted path
    session: SessionKey = SessionKey()
    timezone: tzinfo | None = None  # of time stamps without an offset; None: UTC, and the report says so
    salt: bytes = field(default_factory=lambda: os.urandom(16), repr=False)  # of the visitors' hashes
