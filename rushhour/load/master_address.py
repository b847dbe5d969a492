"""The address at which a Locust master waits for workers in containers or started by hand."""

from dataclasses import dataclass
from typing import Final

from rushhour.scenario.hosts import is_loopback

GATHER_S: Final = 300.0  # a user has to type a command on each of the other machines
CONTAINERS_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class MasterAddress:
    """An address of this machine, and how long the master waits there for its workers."""

    host: str
    port: int
    wait_s: float

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> tuple[str, int]:
    """Parse `HOST:PORT`. Raises ValueError otherwise."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"{text!r} is not HOST:PORT, as in 10.0.0.5:5557")
    return host, int(port)


def listening_address(text: str, allow_host: str | None) -> tuple[str, int]:
    """Parse an address to listen at. Raises ValueError also if it is neither loopback nor allowed.

    Anyone who can reach a master's port can join it and run its customers, so other machines need a consent.
    """
    host, port = parse_address(text)
    if not is_loopback(host) and host != allow_host:
        raise ValueError(f"{text} can be reached from other machines; if that is meant: --allow-host {host}")
    return host, port
