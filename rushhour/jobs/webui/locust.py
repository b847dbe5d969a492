"""The Locust of the web UI as a child of the harness, and one of its loads as a run knows it."""

import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.errors import StackError, UnavailableError
from rushhour.jobs.webui.messages import Ask, Channel, Ended, Go, Message, Stop
from rushhour.load import names
from rushhour.load.locust import STOP_GRACE_S, locust_environment
from rushhour.process.child import Child, start
from rushhour.process.guard import Guard
from rushhour.process.waiting import came_true
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario

PLUGIN: Final = Path(__file__).with_name("plugin.py")
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 6.0
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Address:
    """Where the page is served."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"


def require_free(address: Address) -> None:
    """Raises UnavailableError when the page's port is in use, or its address is none of this machine."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise UnavailableError(
                f"the page cannot be served at {address.host}:{address.port}: {error.strerror}; "
                "stop what uses it, or choose another with --port"
            ) from None


class WebLocust:
    """Locust with its web UI, and what it says."""

    def __init__(self, process: Child, channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, name="rushhour-webui", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(ValueError):  # the channel was closed in the middle of a line
            for message in self.channel.received():
                self._inbox.put(message)

    def next_ask(self, timeout_s: float) -> Ask | None:
        """What the browser asks for, if it does within this time. Raises StackError when Locust has ended."""
        message = self.take(timeout_s)
        return message if isinstance(message, Ask) else None

    def take(self, timeout_s: float) -> Message | None:
        """Return the next message of any kind. Raises StackError when Locust has ended."""
        try:
            return self._inbox.get(timeout=timeout_s) if timeout_s else self._inbox.get_nowait()
        except queue.Empty:
            if self.process.poll() is not None:
                self.process.check()
                raise StackError("Locust ended by itself; its last lines:", self.process.tail()) from None
            return None

    def say(self, message: Message) -> None:
        """Raises StackError, with the log's last lines, when Locust is gone."""
        try:
            self.channel.send(message)
        except OSError as error:
            raise StackError(f"Locust is gone ({error}); its last lines:", self.process.tail()) from None

    def wait_until_served(self, address: Address) -> None:
        """Until the page's port answers. Raises StackError when it does not."""

        def refusal() -> str | None:
            try:
                socket.create_connection((address.host, address.port), timeout=1).close()
            except OSError as error:
                return str(error)
            return None

        what = f"Locust's page at {address.url}"
        self.process.wait_until(what, refusal, START_TIMEOUT_S, poll_s=POLL_S)


@contextmanager
def web_locust(
    scenario: Scenario, run: RunDir, address: Address, guard: Guard, *, login: bool
) -> Iterator[WebLocust]:
    """Locust, up to its end with the block. Raises StackError when it cannot be started."""
    root = Path(scenario.target.root).resolve()
    command = [sys.executable, "-m", "locust", "-f", f"{root / scenario.load.locustfile},{PLUGIN}"]
    command += ["--web-host", address.host, "--web-port", str(address.port)]
    command += ["--web-login"] if login else []
    run.logs.mkdir(parents=True, exist_ok=True)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = {names.CHANNEL: str(theirs.fileno())}
        load = start(
            guard,
            "Locust",
            command,
            log=run.logs / "locust.log",
            environment=locust_environment(scenario, run, time.time()) | channel,
            cwd=root,
            stops_group=True,
            pass_fds=(theirs.fileno(),),
        )
        try:
            theirs.close()
            yield WebLocust(load, Channel(ours))
        finally:
            load.stop(STOP_GRACE_S)


class BrowserLoad:
    """A load within the Locust of the web UI: the same to a run as a Locust of its own."""

    def __init__(self, locust: WebLocust) -> None:
        self._locust = locust
        self.ended: Ended | None = None

    @property
    def pid(self) -> int:
        return self._locust.process.pid

    @property
    def log(self) -> Path | None:
        return self._locust.process.log

    def begin(self, go: Go) -> None:
        """Have Locust start its customers."""
        self._locust.say(go)

    def poll(self) -> int | None:
        """0 when the load is over; None while it runs. Raises StackError when Locust has ended."""
        while self.ended is None and (message := self._locust.take(0.0)) is not None:
            if isinstance(message, Ended):
                self.ended = message
        return None if self.ended is None else 0

    def check(self) -> None:
        """Nothing more: what kept the load from being recorded whole stands among the run's events."""

    def stop(self) -> None:
        """End the load, if it still runs. Never raises: what fails here ends with Locust itself."""
        with suppress(StackError):
            if self.poll() is not None:
                return
            self._locust.say(Stop())
            if not came_true(lambda: self.poll() is not None, STOP_TIMEOUT_S):
                os.kill(self.pid, signal.SIGTERM)
