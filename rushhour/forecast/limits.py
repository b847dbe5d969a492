"""How many connections the servers of a run leave to its service (pure)."""

from dataclasses import dataclass
from typing import Final

from rushhour.rundir import History

RESERVED: Final = 3  # superuser_reserved_connections, PostgreSQL's default


@dataclass(frozen=True, slots=True)
class ServerLimit:
    """The connections of a server: `max_connections`, and how many of them it keeps for superusers."""

    max_connections: int
    reserved: int = RESERVED

    @property
    def usable(self) -> int:
        """Connections that are left to a service."""
        return self.max_connections - self.reserved


def limits_of(history: History) -> dict[str, ServerLimit]:
    """Return the limits of the servers of a run, as they were last."""
    return {
        sample.server: ServerLimit(
            sample.max_connections, RESERVED if sample.reserved is None else sample.reserved
        )
        for sample in history.servers
        if sample.max_connections
    }
