"""The service's settings, all from the environment."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.releases import NEWEST, RELEASES
from app.zoo import DEFECTS


class ConfigError(Exception):
    """Settings that the service cannot start with; the message has every problem, each on its own line."""


@dataclass(frozen=True, slots=True)
class Config:
    """`pool_*` and `max_overflow` hold for each of the two engines; `secret` signs the log-in tokens.

    `defect` names a defect of app/zoo/; with `cured` the service runs that defect's cured twin.
    """

    primary_url: str = field(repr=False)  # the URLs hold passwords
    replica_url: str = field(repr=False)
    secret: str = field(repr=False)
    release: str = NEWEST
    pool_size: int = 20
    max_overflow: int = 10
    pool_timeout_s: float = 30.0
    defect: str | None = None
    cured: bool = False
    partner_url: str = ""


def from_environment(environ: Mapping[str, str] = os.environ) -> Config:
    """Read the REFERRALS_* variables. Raises ConfigError that names every one that is missing or wrong."""
    values: dict[str, Any] = {}
    problems = []
    for name, (variable, parse) in _SETTINGS.items():
        text = environ.get(variable, "" if name in _REQUIRED else None)
        if text is None:
            continue
        try:
            values[name] = parse(text)
        except ValueError as error:
            problems.append(f"{variable} {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    # Without a secret of their own, all workers must still agree on one that nobody else knows.
    derived = hashlib.sha256(b"log-in" + values["primary_url"].encode()).hexdigest()
    return Config(**{"secret": derived} | values)


def _database_url(text: str) -> str:
    if not text:
        raise ValueError("is not set")
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError(
            "is not a database URL such as postgresql+psycopg2://user:password@host/name"
        ) from None
    if url.drivername != "postgresql+psycopg2":
        raise ValueError(f"names the driver {url.drivername}, not postgresql+psycopg2")
    return text


def _release(text: str) -> str:
    if text not in RELEASES:
        raise ValueError(f"is {text!r}, not one of {', '.join(RELEASES)}")
    return text


def _defect(text: str) -> str | None:
    if text and text not in DEFECTS:
        raise ValueError(f"is {text!r}, not one of {', '.join(DEFECTS)}")
    return text or None


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"is {text!r}, not yes or no")
    return text == "yes"


def _secret(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            raise ValueError(f"is {text!r}, not a whole number of at least {least}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"is {text!r}, not a number of seconds above 0")
    return seconds


_SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "primary_url": ("REFERRALS_PRIMARY_URL", _database_url),
    "replica_url": ("REFERRALS_REPLICA_URL", _database_url),
    "secret": ("REFERRALS_SECRET", _secret),
    "release": ("REFERRALS_RELEASE", _release),
    "pool_size": ("REFERRALS_POOL_SIZE", _at_least(1)),
    "max_overflow": ("REFERRALS_MAX_OVERFLOW", _at_least(0)),
    "pool_timeout_s": ("REFERRALS_POOL_TIMEOUT", _seconds),
    "defect": ("REFERRALS_DEFECT", _defect),
    "cured": ("REFERRALS_CURED", _yes_or_no),
    "partner_url": ("REFERRALS_PARTNER_URL", str),
}
_REQUIRED = ("primary_url", "replica_url")
