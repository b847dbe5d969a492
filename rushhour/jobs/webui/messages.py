"""The messages of harness and Locust for the web UI: a JSON object a line, over a socket pair."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from rushhour.observe.live_state import LiveState

Phase = Literal["ready", "preparing", "running", "draining", "judging"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A scenario as the form shows it."""

    name: str
    release: str
    users: int
    spawn_rate: float
    run_time_s: float
    arrivals: bool = False  # customers arrive and leave: the form's rate is the highest rate of arrivals


@dataclass(frozen=True, slots=True)
class Login:
    """Who may use the page."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Welcome:
    """The harness, first of all: what there is to choose from."""

    choices: tuple[Choice, ...]
    chosen: str
    releases: tuple[str, ...]
    login: Login | None
    runs: str  # the folder of all run directories
    loopback: bool  # the page is bound to this machine's loopback


@dataclass(frozen=True, slots=True)
class Ask:
    """Locust: somebody pressed Start. `run_time_s` None: as long as the scenario's own."""

    scenario: str
    release: str
    users: int
    spawn_rate: float
    run_time_s: float | None


@dataclass(frozen=True, slots=True)
class Go:
    """The harness: the service is up and observed, start the load."""

    run_dir: str
    anchor_wall_s: float
    url: str
    users: int
    spawn_rate: float
    warm_up_s: float
    stop_timeout_s: float
    settings: Mapping[str, str]  # environment variables that plugin and locustfile read


@dataclass(frozen=True, slots=True)
class Refused:
    """The harness: no load; what is wrong."""

    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The harness: end the load, and do not wait for requests in flight."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Locust: the load is over and its facts are written. `by_hand`: Stop was pressed before its time."""

    by_hand: bool
    lasted_s: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A run of this session that is over."""

    name: str  # of its directory
    scenario: str
    release: str
    verdict: str
    line: str


@dataclass(frozen=True, slots=True)
class View:
    """The harness, about once a second: all that the pages show."""

    phase: Phase
    words: str
    run: str = ""  # the name of the run directory of the run under way, or of the last one
    scenario: str = ""
    release: str = ""
    duration_s: float = 0.0
    customers: str = ""  # behind the number of those who are there: "of 800"
    state: LiveState | None = None
    runs: tuple[Judged, ...] = ()  # the newest first


Message = Welcome | Ask | Go | Refused | Stop | Ended | View

_KINDS: Final[dict[str, TypeAdapter[Any]]] = {
    kind.__name__: TypeAdapter(kind) for kind in (Welcome, Ask, Go, Refused, Stop, Ended, View)
}


def encode(message: Message) -> bytes:
    """One line."""
    plain = {"kind": type(message).__name__} | asdict(message)
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Raises ValueError or KeyError for what is no message."""
    plain: dict[str, Any] = json.loads(line)
    message: Message = _KINDS[plain.pop("kind")].validate_python(plain)
    return message


class Channel:
    """One end of the socket pair; safe to send on from several threads."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._reader = end.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Raises OSError when the other side is gone."""
        with self._lock:
            self._end.sendall(encode(message))

    def received(self) -> Iterator[Message]:
        """Messages as they come, until the other side is gone."""
        try:
            for line in self._reader:
                yield decode(line)
        except ConnectionError:
            return

    def close(self) -> None:
        self._reader.close()
        self._end.close()
