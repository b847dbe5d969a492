"""What the processes of a service have in common for who reads their agents' files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.agent.call_sites import from_package
from rushhour.rundir import facts as f

_LOOPBACK: Final = frozenset({"localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all processes have in common."""

    anchor_s: float
    servers: Mapping[str, str]  # "host:port" -> name
    root: Path
    label: Callable[[str | None], str | None]  # the framework's route -> Locust's name
    local: Callable[[str], str] = str  # a file as the service names it -> as this machine does

    def t_s(self, monotonic_s: float) -> float:
        return round(monotonic_s - self.anchor_s, 4)

    def site(self, file: str, line: int, function: str) -> f.CallSite:
        """Its file relative to the service's folder, or from the package on where it is installed."""
        path = Path(self.local(file))
        relative = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        package = from_package(f"/{relative.as_posix()}")
        if package is not None and not (self.root / package).is_file():  # else: which one is it?
            return f.CallSite(package, line, function)
        return f.CallSite(relative.as_posix(), line, function)

    def pool(self, number: int, host: str | None, port: int | None, database: str | None) -> str:
        """The server's name, else host:port/database, else the database's file."""
        if host is None:
            return Path(database).name if database else f"pool {number}"
        address = f"{'127.0.0.1' if host in _LOOPBACK else host}:{port}"
        known = self.servers.get(address) or self.servers.get(f"{host}:{port}")
        return known or f"{address}/{database}"


@dataclass(slots=True)
class Growing:
    """Counters that only grow, although the pool behind a name may be made anew and count from zero."""

    owner: int
    newest: tuple[float, ...]
    before: tuple[float, ...]

    def add(self, owner: int, values: tuple[float, ...]) -> tuple[float, ...]:
        if owner != self.owner:
            self.before = tuple(map(sum, zip(self.before, self.newest, strict=True)))
            self.owner = owner
        self.newest = values
        return tuple(map(sum, zip(self.before, values, strict=True)))
