"""What customers got, and how the generator fared."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a request ended, as its customer saw it."""

    OK = "ok"  # 2xx and 3xx
    HTTP_4XX = "http_4xx"
    QUEUEPOOL_TIMEOUT = "queuepool_timeout"  # a 5xx whose body names SQLAlchemy's pool time-out
    HTTP_5XX = "http_5xx"  # any other 5xx
    CONNECT_ERROR = "connect_error"  # refused, reset, closed before an answer
    CLIENT_TIMEOUT = "client_timeout"  # the customer gave up waiting
    OTHER_ERROR = "other_error"


SERVER_ERRORS = frozenset({Outcome.QUEUEPOOL_TIMEOUT, Outcome.HTTP_5XX})
FAILURES = frozenset(Outcome) - {Outcome.OK, Outcome.HTTP_4XX}


@dataclass(frozen=True, slots=True)
class RequestCount:
    """requests.jsonl: requests of one endpoint that *ended* in one second with one outcome, at one worker.

    Rows with equal (t_s, endpoint, outcome, status) add up. `latency` is a base64 HDR histogram of
    microseconds (1 us to 5 min, three significant digits) of `count` values. `status` is that of 4xx
    answers, and 0 otherwise.
    """

    t_s: int
    endpoint: str  # "GET /customers/:id/referrals"
    outcome: Outcome
    count: int
    latency: str
    worker: str = "local"
    status: int = 0


@dataclass(frozen=True, slots=True)
class GeneratorSample:
    """generator.jsonl: one Locust process during one second.

    `started` counts requests put on the wire, retries included (`retries` of them). Lateness is how much
    later than planned a timer of the event loop fired. `cpu_cores` is that process's use (1.0: a whole core).
    `redirected` counts requests that were answered by another address than they asked.
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
