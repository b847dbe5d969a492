"""What the tests on a real engine share."""

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from docker import DockerClient

ROOT = Path(__file__).parents[2]


def everything(client: DockerClient) -> dict[str, set[str]]:
    """`docker ps -a`, `docker volume ls`, `docker network ls`."""
    return {
        "containers": {container["Id"] for container in client.api.containers(all=True)},
        "volumes": {volume["Name"] for volume in client.api.volumes()["Volumes"] or ()},
        "networks": {network["Id"] for network in client.api.networks()},
    }


def build_image(client: DockerClient, dockerfile: str, name: str) -> None:
    client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=name, rm=True)


class Relay:
    """A socket that leads to the engine, until `cut`: then it is as if the engine had died."""

    def __init__(self, path: Path, engine: Path) -> None:
        self._engine = engine
        self._open: list[socket.socket] = []
        self._carriers: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._path = path
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._path.unlink(missing_ok=True)
        self._listener.close()
        for item in self._open:
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
        for carrier in self._carriers:
            carrier.join(timeout=5)
        for item in self._open:
            item.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(self._engine))
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    carrier = threading.Thread(target=self._carry, args=(source, sink), daemon=True)
                    self._carriers.append(carrier)
                    carrier.start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one side has gone
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def quiet(step: str, done: float = 0, total: float | None = None, unit: str = "") -> None:
    """A progress that shows nothing."""


def wait_until(what: str, probe: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Until the probe's answer is true; it may raise what the waiting is for to end."""
    deadline = time.monotonic() + timeout_s
    seen: object = None
    while True:
        try:
            if seen := probe():
                return
        except Exception as error:  # noqa: BLE001 - told when the time is over
            seen = error
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}; last seen: {seen!r}"
        time.sleep(0.1)
