"""The dataclasses of a scenario, with the validation of each field; `file.py` reads them from YAML."""

import re
from dataclasses import field
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from rushhour.scenario import arrivals
from rushhour.scenario.arrivals import CapacityBound, RatePoint, parse_arrivals, parse_capacity
from rushhour.scenario.day import parse_day
from rushhour.scenario.durations import PositiveSeconds, Seconds
from rushhour.scenario.thresholds import Threshold, endpoint_of, parse_threshold

STRICT: Final = ConfigDict(extra="forbid", strict=True)

MOST_CUSTOMERS: Final = 1_000_000_000
MOST_FORECAST: Final = 10_000_000  # customers of a production, as `forecast --customers`
MOST_PARTS: Final = 1_000_000  # processes, threads, connections, cores
MOST_SEED: Final = 100_000_000_000_000  # as large as a run's files may hold
# With MOST_FORECAST, the largest deployment that a forecast or a size is computed for.
MOST_INSTANCES: Final = 10_000  # of a production
MOST_PROCESSES: Final = 1_000  # of an instance there
MOST_THREADS: Final = 100_000  # of a process there

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
# pause: the server keeps its connections and does not answer; stop: it shuts down cleanly; kill: like a
# power cut; black-hole: no data passes between service and server; lock: locks a table, as a migration does.
FAULTS: Final = ("pause", "unpause", "stop", "kill", "start", "black-hole", "restore", "lock", "unlock")


def _one_of(what: str, allowed: tuple[str, ...]) -> BeforeValidator:
    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"unknown {what} {value!r}; known: {', '.join(allowed)}")
        return value

    return BeforeValidator(check)


def parse_endpoint(value: Any) -> Any:
    """Validate an endpoint such as `GET /x`. Raises ValueError otherwise."""
    return endpoint_of(value) if isinstance(value, str) else value


def _one_or_more(value: Any) -> Any:
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, config=STRICT)
class Data:
    """The data that the databases are filled with before the load starts."""

    size: Annotated[str, _one_of("size", SIZES)] = "small"
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = 1


@dataclass(frozen=True, slots=True, config=STRICT)
class Load:
    """The customers and the duration: `users` who stay, or `arrivals` of customers who leave again.

    `users` is the peak of the shape; `spawn_rate` is customers per second. `arrivals` is a rate or a curve of
    rates, to which neither shape nor spawn rate applies.
    """

    duration: PositiveSeconds
    users: Annotated[int, Field(gt=0, le=MOST_CUSTOMERS)] | None = None
    arrivals: Annotated[tuple[RatePoint, ...] | None, BeforeValidator(parse_arrivals)] = None
    shape: Annotated[str, _one_of("shape", SHAPES)] = "rush-hour"
    locustfile: str = "locustfiles/referrals.py"
    spawn_rate: Annotated[float, Field(gt=0, le=MOST_CUSTOMERS, allow_inf_nan=False)] = 40.0
    warm_up: Annotated[Seconds, Field(ge=0)] = 10.0
    think_time: PositiveSeconds = 6.0  # median of the log-normal think time
    push_share: Annotated[float, Field(ge=0, le=1)] = (
        0.2  # share of the waiting customers that act on a push notification
    )
    workers: Annotated[int, Field(ge=0, le=MOST_PARTS)] = (
        0  # worker processes of Locust beside its master; 0: a single process
    )
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = 1
    client_timeout: PositiveSeconds = 60.0  # a customer waits this long for an answer
    drain: Annotated[Seconds, Field(ge=0)] = 2.0  # observe the pools this long after the load

    def in_words(self) -> str:
        """Describe the customers, as in "800 customers" or "arrivals of 40 a second"."""
        if self.arrivals is not None:
            return f"arrivals of {arrivals.in_words(self.arrivals)}"
        return f"{self.users or 0:,} customers"

    def short(self) -> str:
        """Write the customers for a table, as in "800" or "40/s"."""
        if self.arrivals is not None:
            return f"{arrivals.peak(self.arrivals):g}/s"
        return f"{self.users or 0:,}"

    def shape_in_words(self) -> str:
        """Name what the number of customers follows: the shape, or the curve of rates."""
        return self.shape if self.arrivals is None else "open arrivals"


@dataclass(frozen=True, slots=True, config=STRICT)
class Pool:
    """The settings of the service's connection pools; each of its engines has the same."""

    size: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 20
    max_overflow: Annotated[int, Field(ge=0, le=MOST_PARTS)] = 10
    timeout: PositiveSeconds = 30.0


@dataclass(frozen=True, slots=True, config=STRICT)
class Service:
    """How the service under test is started."""

    workers: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 1
    threads: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 64
    nice: Annotated[int, Field(ge=0, le=19)] = 10  # yields to the generator, which must keep its schedule
    environment: dict[str, str] = field(default_factory=dict)
    arguments: str = ""  # appended to the command: "--preload"
    partner: str = ""  # command of a process beside the service, which finds it at {partner_url}


@dataclass(frozen=True, slots=True, config=STRICT)
class Postgres:
    """The settings of the two servers. `*_cores` limits their CPU if the machine can; null: no limit."""

    max_connections: Annotated[int, Field(ge=10, le=MOST_CUSTOMERS)] = 100
    primary_cores: Annotated[float, Field(gt=0, le=MOST_PARTS, allow_inf_nan=False)] | None = None
    replica_cores: Annotated[float, Field(gt=0, le=MOST_PARTS, allow_inf_nan=False)] | None = 0.7
    nice: Annotated[int, Field(ge=0, le=19)] = 10


@dataclass(frozen=True, slots=True, config=STRICT)
class ServerFault:
    """A fault that is applied to a server `at` seconds after the start of the load."""

    at: Annotated[Seconds, Field(ge=0)]
    server: Annotated[str, _one_of("server", SERVERS)]
    do: Annotated[str, _one_of("fault", FAULTS)]
    table: str = ""  # the table to lock

    def in_words(self) -> str:
        """Describe the fault, as in "pause of the replica" or "lock of payouts on the primary"."""
        return (
            f"{self.do} of {self.table} on the {self.server}"
            if self.table
            else f"{self.do} of the {self.server}"
        )


@dataclass(frozen=True, slots=True, config=STRICT)
class Target:
    """The service under test: the file's `service:` block, or a scenario's own `target:`.

    It is started by `command` or from the import path `app`, or is a service of a `compose` file, or is
    already running at `url`. `command`, `setup` and the values of `environment` may hold {python}, {host},
    {port}, {workers}, {threads}, {release}, {primary_url}, {replica_url}, {pool_size}, {max_overflow},
    {pool_timeout} and {logs}. Paths are relative to `root`, the folder of the scenario file, where the
    commands run.
    """

    name: str
    command: str = ""
    app: str = ""  # "shop:app" or "shop:create_app()": a WSGI application, served by gunicorn
    compose: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()  # files, as `docker compose -f`
    service: str = ""  # the service under test in the Compose file; started with its dependencies
    port: Annotated[int, Field(ge=0, le=65535)] = (
        0  # the port in the container; 0: the only port that the file publishes or exposes
    )
    url: str = ""  # the URL of a service that already runs: a black box
    health: str = "/"  # answers 200 when the service is ready
    releases: tuple[str, ...] = ("current",)  # oldest first
    schema: str = ""  # SQL that creates the referrals service's tables, which rushhour fills
    setup: str = ""  # a command that creates tables and rows before the service starts
    setup_timeout: PositiveSeconds = 300.0
    python: str = ""  # the interpreter of the service's environment; by default rushhour's own
    url_scheme: str = "postgresql+psycopg2"  # scheme of {primary_url} and {replica_url}
    environment: dict[str, str] = field(default_factory=dict)
    check: tuple[str, ...] = ()  # "GET /path" or "POST /path {json}": one request per endpoint
    root: str = "."


def _day(value: Any) -> Any:
    if isinstance(value, str) and value.strip():
        parse_day(value)
    return value


def _share(value: Any) -> Any:
    """Read `20%` or 0.2."""
    if isinstance(value, str) and (found := re.fullmatch(r"(\d+(?:\.\d+)?)%", value.strip())):
        return float(found[1]) / 100
    return value


@dataclass(frozen=True, slots=True, config=STRICT)
class ProductionPool:
    """What a `production:` says of the pools; what it leaves out is as in the run."""

    size: Annotated[int, Field(ge=1, le=MOST_PARTS)] | None = None
    max_overflow: Annotated[int, Field(ge=0, le=MOST_PARTS)] | None = None
    timeout: PositiveSeconds | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class Production:
    """What a scenario's `production:` says; what it leaves out is as in the run."""

    customers: Annotated[int, Field(gt=0, le=MOST_FORECAST)]
    instances: Annotated[int, Field(ge=1, le=MOST_INSTANCES)] = 1
    workers: Annotated[int, Field(ge=1, le=MOST_PROCESSES)] | None = None  # processes of each instance
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] | None = None  # of each process
    pool: ProductionPool | None = None
    think_time: PositiveSeconds | None = None  # median pause of a customer between two steps
    push_share: Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)] | None = None
    day: Annotated[str, BeforeValidator(_day)] = ""  # see parse_day; empty: all customers, for a day


@dataclass(frozen=True, slots=True, config=STRICT)
class Scenario:
    """A scenario: the service under test, the load, and the expected result."""

    name: str
    target: Target
    load: Load
    release: str  # one of target.releases
    expect: Literal["healthy", "degraded", "exhausted"]
    description: str = ""
    cause: Annotated[str, _one_of("cause", CAUSES)] | None = None
    judge: Literal["all", "http"] = "all"  # "http": only what a tester sees, as in a test environment
    data: Data = field(default_factory=Data)
    pool: Pool = field(default_factory=Pool)
    service: Service = field(default_factory=Service)
    postgres: Postgres = field(default_factory=Postgres)
    thresholds: tuple[Annotated[Threshold, BeforeValidator(parse_threshold)], ...] = ()
    faults: tuple[ServerFault, ...] = ()
    expect_alarms: tuple[str, ...] = ()  # policies of infra/alerts that must fire on every failure
    expect_capacity: Annotated[CapacityBound | None, BeforeValidator(parse_capacity)] = None
    may_fail: tuple[Annotated[str, BeforeValidator(parse_endpoint)], ...] = ()  # may never answer 2xx or 3xx
    agent: bool = True  # false: a black box, judged by HTTP, servers and logs alone
    production: Production | None = None  # what the report of a run is forecast for

    @property
    def cut_off(self) -> frozenset[str]:
        """The servers that a fault of this scenario cuts off from the service."""
        return frozenset(fault.server for fault in self.faults if fault.do == "black-hole")

    @property
    def wants_servers(self) -> bool:
        """Whether rushhour starts a primary and a replica; a Compose file may bring its own database."""
        if self.target.url:
            return False
        return self.names_servers or not self.target.compose

    @property
    def names_servers(self) -> bool:
        """Whether the service gets the URL of rushhour's servers; if not, it has a database of its own."""
        if self.target.url:
            return False
        target, service = self.target, self.service
        given = (*target.environment.values(), *service.environment.values(), target.setup)
        if not target.compose:
            given = (*given, target.command, service.arguments)
        return any(f"{{{server}_url}}" in text for text in given for server in SERVERS)


SCENARIO: Final = TypeAdapter(Scenario)
