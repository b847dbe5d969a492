"""What a scenario is: frozen facts, validated field by field; `file.py` reads them from YAML."""

import re
from dataclasses import field
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationInfo
from pydantic.dataclasses import dataclass

from rushhour.scenario.thresholds import Threshold, endpoint_of, parse_threshold

STRICT: Final = ConfigDict(extra="forbid", strict=True)

SHAPES: Final = ("rush-hour", "ramp", "spike", "steady", "soak")
SIZES: Final = ("tiny", "small", "medium", "large")
CAUSES: Final = (
    "scope-never-removed",
    "unclosed-path",
    "held-across-external-wait",
    "saturation",
    "nested-checkout",
    "held-while-streaming",
    "abandoned-stream",
    "server-limit",
    "slow-or-dead-backend",
    "fork-shared",
    "blocked-worker",
    "own-lock-chain",
    "none",
)

SERVERS: Final = ("primary", "replica")
# pause: it holds its connections and answers nothing; stop: it shuts down cleanly; kill: as a power cut;
# black-hole: nothing passes between service and server any more; lock: a table, as a migration does.
FAULTS: Final = ("pause", "unpause", "stop", "kill", "start", "black-hole", "restore", "lock", "unlock")

FROM_YAML: Final = "yaml"  # validation context of a file written by hand: there a duration needs its unit

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_seconds(value: Any, info: ValidationInfo) -> Any:
    """`"90s"`, `"1m30s"`, `"500ms"` -> seconds; anything else is refused with what is allowed."""
    if isinstance(value, float) and info.context != FROM_YAML:  # seconds already: a scenario.json read back
        return value
    return seconds_of(value)


def seconds_of(value: object) -> float:
    """Seconds of a duration as it is written by hand. Raises ValueError with what is allowed."""
    text = str(value).strip()
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        raise ValueError(f"{value!r} is not a duration; write a number with a unit: 500ms, 30s, 2m, 1h")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


Seconds = Annotated[float, BeforeValidator(parse_seconds)]
PositiveSeconds = Annotated[Seconds, Field(gt=0)]


def _one_of(what: str, allowed: tuple[str, ...]) -> BeforeValidator:
    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"unknown {what} {value!r}; known: {', '.join(allowed)}")
        return value

    return BeforeValidator(check)


def parse_endpoint(value: Any) -> Any:
    """`GET /x`, as thresholds name endpoints. Raises ValueError otherwise."""
    return endpoint_of(value) if isinstance(value, str) else value


def _one_or_more(value: Any) -> Any:
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, config=STRICT)
class Data:
    """What the databases hold before the load starts."""

    size: Annotated[str, _one_of("size", SIZES)] = "small"
    seed: Annotated[int, Field(ge=0)] = 1


@dataclass(frozen=True, slots=True, config=STRICT)
class Load:
    """Who comes, when, and for how long. `users` is the peak; `spawn_rate` is customers a second."""

    users: Annotated[int, Field(gt=0)]
    duration: PositiveSeconds
    shape: Annotated[str, _one_of("shape", SHAPES)] = "rush-hour"
    locustfile: str = "locustfiles/referrals.py"
    spawn_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 40.0
    warm_up: Annotated[Seconds, Field(ge=0)] = 10.0
    think_time: PositiveSeconds = 6.0  # median of the log-normal think time
    push_share: Annotated[float, Field(ge=0, le=1)] = (
        0.2  # of the waiting customers act on a push notification
    )
    workers: Annotated[int, Field(ge=0)] = 0  # of Locust, beside its master; 0: one process does all
    seed: Annotated[int, Field(ge=0)] = 1
    client_timeout: PositiveSeconds = 60.0  # a customer waits this long for an answer
    drain: Annotated[Seconds, Field(ge=0)] = 2.0  # watch this long, after the load, what is still held


@dataclass(frozen=True, slots=True, config=STRICT)
class Pool:
    """The service's connection pool settings, the same for each of its engines."""

    size: Annotated[int, Field(ge=1)] = 20
    max_overflow: Annotated[int, Field(ge=0)] = 10
    timeout: PositiveSeconds = 30.0


@dataclass(frozen=True, slots=True, config=STRICT)
class Service:
    """How the service under test is run."""

    workers: Annotated[int, Field(ge=1)] = 1
    threads: Annotated[int, Field(ge=1)] = 64
    nice: Annotated[int, Field(ge=0, le=19)] = 10  # yields to the generator, which must keep its schedule
    environment: dict[str, str] = field(default_factory=dict)
    arguments: str = ""  # appended to the command: "--preload"
    partner: str = ""  # command of a process beside the service, which finds it at {partner_url}


@dataclass(frozen=True, slots=True, config=STRICT)
class Postgres:
    """Capacity of the two servers. `*_cores` caps CPU where the machine allows it; null leaves it open."""

    max_connections: Annotated[int, Field(ge=10)] = 100
    primary_cores: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    replica_cores: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 0.7
    nice: Annotated[int, Field(ge=0, le=19)] = 10


@dataclass(frozen=True, slots=True, config=STRICT)
class ServerFault:
    """What is done to a server while the load goes on, `at` seconds after the load started."""

    at: Annotated[Seconds, Field(ge=0)]
    server: Annotated[str, _one_of("server", SERVERS)]
    do: Annotated[str, _one_of("fault", FAULTS)]
    table: str = ""  # which one to lock

    def in_words(self) -> str:
        """`pause of the replica`, `lock of payouts on the primary`."""
        return (
            f"{self.do} of {self.table} on the {self.server}"
            if self.table
            else f"{self.do} of the {self.server}"
        )


@dataclass(frozen=True, slots=True, config=STRICT)
class Target:
    """The service under test: the file's `service:` block, or a scenario's own `target:`.

    It is started by `command` or from the import path `app`, is a service of a `compose` file, or runs
    already at `url`. `command`, `setup` and the values of `environment` may hold {python}, {host}, {port},
    {workers}, {threads}, {release}, {primary_url}, {replica_url}, {pool_size}, {max_overflow}, {pool_timeout}
    and {logs}. Paths are relative to `root`, the folder of the scenario file, where the commands run.
    """

    name: str
    command: str = ""
    app: str = ""  # "shop:app" or "shop:create_app()": a WSGI application, served by gunicorn
    compose: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()  # files, as `docker compose -f`
    service: str = ""  # of the Compose file: the one under test, which is started with what it depends on
    port: Annotated[int, Field(ge=0, le=65535)] = (
        0  # in its container; 0: the only one that the file publishes or exposes
    )
    url: str = ""  # of a service that runs already: a black box
    health: str = "/"  # answers 200 when the service is ready
    releases: tuple[str, ...] = ("current",)  # oldest first
    schema: str = ""  # SQL that creates the referrals service's tables, which rushhour fills
    setup: str = ""  # a command that makes tables and rows, before the service starts
    setup_timeout: PositiveSeconds = 300.0
    python: str = ""  # the interpreter of the service's own environment; rushhour's unless named
    url_scheme: str = "postgresql+psycopg2"  # of {primary_url} and {replica_url}
    environment: dict[str, str] = field(default_factory=dict)
    check: tuple[str, ...] = ()  # "GET /path" or "POST /path {json}": one request per endpoint
    root: str = "."


@dataclass(frozen=True, slots=True, config=STRICT)
class Scenario:
    """One run: what stands under test, what comes at it, and what is expected of it."""

    name: str
    target: Target
    load: Load
    release: str  # one of target.releases
    expect: Literal["healthy", "degraded", "exhausted"]
    description: str = ""
    cause: Annotated[str, _one_of("cause", CAUSES)] | None = None
    judge: Literal["all", "http"] = "all"  # "http": only what a tester sees, as a lower environment would
    data: Data = field(default_factory=Data)
    pool: Pool = field(default_factory=Pool)
    service: Service = field(default_factory=Service)
    postgres: Postgres = field(default_factory=Postgres)
    thresholds: tuple[Annotated[Threshold, BeforeValidator(parse_threshold)], ...] = ()
    faults: tuple[ServerFault, ...] = ()
    expect_alarms: tuple[str, ...] = ()  # policies of infra/alerts that must tell of every failure
    may_fail: tuple[Annotated[str, BeforeValidator(parse_endpoint)], ...] = ()  # may never answer 2xx or 3xx
    agent: bool = True  # false: a black box, judged by HTTP, servers and logs alone

    @property
    def cut_off(self) -> frozenset[str]:
        """Servers that a fault of this scenario separates from the service."""
        return frozenset(one.server for one in self.faults if one.do == "black-hole")

    @property
    def wants_servers(self) -> bool:
        """Whether our primary and replica stand behind the service; a Compose file may have its own."""
        if self.target.url:
            return False
        return self.names_servers or not self.target.compose

    @property
    def names_servers(self) -> bool:
        """Whether the service gets the URL of our primary or replica; otherwise its database is its own."""
        if self.target.url:
            return False
        target, service = self.target, self.service
        given = (*target.environment.values(), *service.environment.values(), target.setup)
        if not target.compose:
            given = (*given, target.command, service.arguments)
        return any(f"{{{server}_url}}" in text for text in given for server in SERVERS)


SCENARIO: Final = TypeAdapter(Scenario)
