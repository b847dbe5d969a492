"""The probe of the drilled service: ready once its health path said so, then alive while its port is open."""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.free_ports import free_port

SCRIPT = Path(__file__).parents[2] / "infra/docker/service-health.sh"


class Service:
    """Answers one request after the other with what it is told to; None leaves it without an answer."""

    def __init__(self, listener: socket.socket, mark: Path) -> None:
        self._listener = listener
        self._script = SCRIPT.read_text(encoding="utf-8").replace("/tmp/answered-200", str(mark))
        self.asked: list[bytes] = []

    def probe(self, status: str | None) -> int:
        """The probe's exit code."""
        port = self._listener.getsockname()[1]
        with subprocess.Popen(
            ["bash", "-c", self._script, "probe", str(port), "/health"], stdout=subprocess.DEVNULL
        ) as probe:
            connection, _ = self._listener.accept()
            with connection:
                if status is not None:
                    self.asked.append(connection.recv(1000).split()[1])
                    connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
                return probe.wait(timeout=60)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "answered"


def test_the_probe_requests_the_health_path_until_the_first_200_and_then_only_connects(mark: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        service = Service(listener, mark)
        assert [service.probe("503 NO"), service.probe("200 OK")] == [1, 0]
        assert service.probe(None) == 0  # its pool is exhausted: the health path would not answer
        assert service.asked == [b"/health", b"/health"]


def test_a_closed_port_is_unhealthy_for_ever(mark: Path) -> None:
    port = free_port()
    mark.touch()
    script = SCRIPT.read_text(encoding="utf-8").replace("/tmp/answered-200", str(mark))
    done = subprocess.run(
        ["bash", "-c", script, "probe", str(port), "/health"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode != 0
