"""A whole run: its environment, and all of its facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rushhour.rundir.facts.fleet import ServiceSeen
from rushhour.rundir.facts.load import GeneratorSample, RequestCount
from rushhour.rundir.facts.moments import RUN_ENDED, Event, Notification
from rushhour.rundir.facts.pools import (
    AgentFault,
    AgentProcess,
    CheckOut,
    Collected,
    EnginesMade,
    Inherited,
    LoopSample,
    PoolDoing,
    PoolSample,
    PoolTimeout,
    PoolTimes,
    SiteTotal,
)
from rushhour.rundir.facts.servers import HostSample, ServerSample


@dataclass(frozen=True, slots=True)
class Environment:
    """environment.json: the machine, versions and settings of a run."""

    started_at: str  # ISO 8601, UTC
    rushhour: str
    commit: str | None
    python: str
    platform: str
    cpu_count: int
    memory_mb: int
    stack: str
    postgres: str | None = None
    locust: str | None = None
    sqlalchemy: str | None = None
    limits: Mapping[str, str] = field(default_factory=dict)  # component -> description of its CPU limit
    images: Mapping[str, str] = field(
        default_factory=dict
    )  # part of a Compose stack -> description of its image


@dataclass(frozen=True, slots=True)
class Loss:
    """A difference between a file of a saved run and what was written.

    `lines` and the times locate it, if known. `foreign`: the file has rows that were not written, so that its
    other rows cannot be trusted either.
    """

    file: str
    what: str
    lines: tuple[int, int] | None = None
    from_s: float | None = None
    to_s: float | None = None
    foreign: bool = False

    def in_words(self) -> str:
        return f"{self.file}: {self.what}"


@dataclass(frozen=True, slots=True)
class History:
    """All facts of a run directory, in order of time."""

    environment: Environment | None
    events: tuple[Event, ...] = ()
    requests: tuple[RequestCount, ...] = ()
    generator: tuple[GeneratorSample, ...] = ()
    processes: tuple[AgentProcess, ...] = ()
    pools: tuple[PoolSample, ...] = ()
    checkouts: tuple[CheckOut, ...] = ()  # the last line of each (pid, id)
    sites: tuple[SiteTotal, ...] = ()
    pool_timeouts: tuple[PoolTimeout, ...] = ()
    times: tuple[PoolTimes, ...] = ()
    doing: tuple[PoolDoing, ...] = ()
    inherited: tuple[Inherited, ...] = ()
    loops: tuple[LoopSample, ...] = ()
    engines: tuple[EnginesMade, ...] = ()
    collections: tuple[Collected, ...] = ()
    agent_faults: tuple[AgentFault, ...] = ()
    servers: tuple[ServerSample, ...] = ()
    host: tuple[HostSample, ...] = ()
    notifications: tuple[Notification, ...] = ()
    services: tuple[ServiceSeen, ...] = ()  # in drills
    losses: tuple[Loss, ...] = ()  # in saved runs: see losses.py
    unchecked: tuple[str, ...] = ()  # descriptions of what no manifest could confirm

    def event(self, name: str) -> Event | None:
        """Return the first event of that name."""
        return next((event for event in self.events if event.name == name), None)

    def time_of(self, name: str) -> float | None:
        """Return the time of the first event of that name, in seconds since the anchor."""
        found = self.event(name)
        return None if found is None else found.t_s

    @property
    def complete(self) -> bool:
        """Whether the run ended regularly."""
        return self.event(RUN_ENDED) is not None
