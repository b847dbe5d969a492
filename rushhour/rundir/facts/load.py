"""Facts about the requests of customers, and about the load generator."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of a request, as seen by its customer."""

    OK = "ok"  # 2xx and 3xx
    HTTP_4XX = "http_4xx"
    QUEUEPOOL_TIMEOUT = "queuepool_timeout"  # a 5xx whose body names SQLAlchemy's pool time-out
    HTTP_5XX = "http_5xx"  # any other 5xx
    CONNECT_ERROR = "connect_error"  # refused, reset, closed before an answer
    CLIENT_TIMEOUT = "client_timeout"  # the customer gave up waiting
    OTHER_ERROR = "other_error"


SERVER_ERRORS = frozenset({Outcome.QUEUEPOOL_TIMEOUT, Outcome.HTTP_5XX})
FAILURES = frozenset(Outcome) - {Outcome.OK, Outcome.HTTP_4XX}


SAME_LATENCY = "="  # `latency_due` of a row whose requests were all sent when they were due


@dataclass(frozen=True, slots=True)
class RequestCount:
    """requests.jsonl: the requests of an endpoint that ended in a second, by outcome and worker.

    Rows with equal (t_s, endpoint, outcome, status) add up. `latency` is a base64 HDR histogram of
    microseconds (1 us to 5 min, three significant digits) of `count` values, from when requests were sent.
    `latency_due` is one from when they were due: SAME_LATENCY if none was late, empty if not recorded (older
    versions). `status` is the status code of 4xx answers, and 0 otherwise.
    """

    t_s: int
    endpoint: str  # "GET /customers/:id/referrals"
    outcome: Outcome
    count: int
    latency: str
    worker: str = "local"  # "all": merged, as the master of twenty workers or more does
    status: int = 0
    latency_due: str = ""


@dataclass(frozen=True, slots=True)
class GeneratorSample:
    """generator.jsonl: a Locust process during a second.

    `started` counts requests sent, including `retries`. Lateness is how much later than planned a timer of
    the event loop fired. `cpu_cores` is the CPU use of the process (1.0: a whole core). `redirected` counts
    requests that were redirected to another address. `due_late_*` is how much later than due requests were
    sent that had a moment at which they were due. With open arrivals, `arrived` counts the customers who
    came, and `turned_away` those for whom the process had no room. `due` counts the requests
    that were due in the second by the customers' schedule, whenever they were sent. `no_file`, `no_port` and
    `no_memory` count the requests that this process could not send, because it could open no connection:
    the service never saw them.
    """

    t_s: int
    worker: str
    users: int
    started: int
    retries: int
    lateness_p99_ms: float
    lateness_max_ms: float
    cpu_cores: float
    redirected: int = 0
    due_late_p99_ms: float = 0.0
    due_late_max_ms: float = 0.0
    arrived: int = 0
    turned_away: int = 0
    due: int = 0
    no_file: int = 0
    no_port: int = 0
    no_memory: int = 0
