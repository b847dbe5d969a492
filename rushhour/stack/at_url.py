"""A service that already runs at a URL: rushhour neither starts nor stops it, and has no agent in it."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rushhour.errors import UsageError
from rushhour.process.meter import Meter
from rushhour.process.waiting import wait_until
from rushhour.rundir import RunDir
from rushhour.scenario.hosts import check_host
from rushhour.scenario.model import Scenario
from rushhour.stack import Progress, Server

HEALTHY_WITHIN_S: Final = 10.0
PROBE_TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class UrlRunning:
    """A service that already runs; only its URL is known."""

    service_url: str
    service_root: Path
    servers: tuple[Server, ...] = ()
    meters: Mapping[str, Meter] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    postgres_version: str = "unknown"

    def check_alive(self) -> None:
        """Do nothing: if the service ends, its failed requests show it."""


class UrlStack:
    """Sends load to the scenario's `target.url`; on another machine only if it is `allow_host`."""

    name: Final = "url"

    def __init__(self, allow_host: str | None = None) -> None:
        self._allow_host = allow_host

    @contextmanager
    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> Iterator[UrlRunning]:
        """Wait until the health path answers 200. Raises UsageError, StackError."""
        del run
        url = scenario.target.url.rstrip("/")
        if problems := check_host(url, self._allow_host):
            raise UsageError(problems)
        progress(f"wait for {url}")
        health = url + scenario.target.health
        advice = "start the service, or set target.url and target.health to where it answers"
        wait_until(f"{health} to answer 200", lambda: probe(health), HEALTHY_WITHIN_S, advice, poll_s=POLL_S)
        yield UrlRunning(url, Path(scenario.target.root))


def probe(url: str) -> str | None:
    """Return why a URL is not healthy, or None if it answered 200."""
    where = urlsplit(url)
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    return health_refusal(kind(where.hostname or "", where.port, timeout=PROBE_TIMEOUT_S), where.path or "/")


def health_refusal(connection: http.client.HTTPConnection, path: str) -> str | None:
    """Return why a health path is not healthy, or None if it answered 200; closes the connection."""
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return in_words(answer.status, answer.getheader("Location"))


def in_words(status: int, location: str | None) -> str | None:
    """Return what is wrong with a health path's answer and what to do, or None for 200."""
    if status == 200:
        return None
    if 300 <= status < 400:
        return (
            f"HTTP {status} to {location or 'nowhere'}: set `health` to a path that answers 200 by itself, "
            "without a login"
        )
    hint = ": set `health` to a path that the service has" if status == 404 else ""
    return f"HTTP {status}{hint}"
