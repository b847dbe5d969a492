"""A run as a whole: where it took place, and all that was observed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rushhour.rundir.facts.fleet import ServiceSeen
from rushhour.rundir.facts.load import GeneratorSample, RequestCount
from rushhour.rundir.facts.moments import RUN_ENDED, Event, Told
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
    """environment.json: where the run took place."""

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
    limits: Mapping[str, str] = field(default_factory=dict)  # component -> its capacity's limit, in words
    images: Mapping[str, str] = field(default_factory=dict)  # part of a Compose stack -> its image, in words


@dataclass(frozen=True, slots=True)
class Loss:
    """What a file of a saved run lacks, or has too much of, compared with what was written.

    `lines` and the times are where it shows, as far as that can be seen. `foreign`: rows are there that were
    not written, so even what was seen may not have happened.
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
    """All that a run directory holds, in order of time."""

    environment: Environment | None
    events: tuple[Event, ...] = ()
    requests: tuple[RequestCount, ...] = ()
    generator: tuple[GeneratorSample, ...] = ()
    processes: tuple[AgentProcess, ...] = ()
    pools: tuple[PoolSample, ...] = ()
    checkouts: tuple[CheckOut, ...] = ()  # one per (pid, id): its last line
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
    told: tuple[Told, ...] = ()
    services: tuple[ServiceSeen, ...] = ()  # of a drill
    losses: tuple[Loss, ...] = ()  # of a saved run: see losses.py
    unchecked: tuple[str, ...] = ()  # what could not be held against a manifest, in words

    def event(self, name: str) -> Event | None:
        """The first event of that name."""
        return next((event for event in self.events if event.name == name), None)

    def time_of(self, name: str) -> float | None:
        """When the first event of that name happened, in seconds since the anchor."""
        found = self.event(name)
        return None if found is None else found.t_s

    @property
    def complete(self) -> bool:
        """Whether the run went to its end."""
        return self.event(RUN_ENDED) is not None
