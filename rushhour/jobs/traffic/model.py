"""The model of a log's traffic: what traffic.json holds, and nothing that belongs to a client."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from rushhour.errors import UsageError
from rushhour.jobs.traffic.arrivals import Arrivals
from rushhour.jobs.traffic.ids import Skew
from rushhour.jobs.traffic.merging import Merge
from rushhour.jobs.traffic.pauses import After, mean_of
from rushhour.process.regular import read_at_most

VERSION: Final = 1
LONGEST_REPLAY_S: Final = 900.0  # the curve of a shorter log is played again as it was
_FEW_CARRIED: Final = 0.05  # of those who are present at the peak
FEWEST_THINKS: Final = 50  # a median of fewer is not compared


@dataclass(frozen=True, slots=True)
class Param:
    """A value in a path, by rank."""

    name: str
    kind: str
    skew: Skew | None
    kept: float | None  # share of requests that repeat the session's last value; None: never two in a session


@dataclass(frozen=True, slots=True)
class EndpointModel:
    """An endpoint: its share of requests, its answers, and what comes after it."""

    name: str  # "GET /customers/:id/referrals"
    method: str
    template: str
    form: str  # /customers/{customer_id}/referrals
    parameters: tuple[str, ...]  # names of `TrafficModel.parameters`
    requests: int
    share: float
    errors: float  # share of 5xx
    queries: float  # share with a query
    begin: float  # share of sessions that begin with it
    p50_s: float | None  # how long it took
    p95_s: float | None
    mean_s: float
    after: After | None  # None: no session was seen to go on or to end here
    at_once: dict[str, float]  # next endpoint -> share of those that follow at once; sums to 1 or is empty
    think: dict[str, float]  # the same of those that follow after a think time
    parallel: bool  # most that follow at once began before the answer

    @property
    def median_think_s(self) -> float | None:
        return self.after.think_s[10] if self.after and self.after.think_s else None


@dataclass(frozen=True, slots=True)
class Note:
    """What was left out, or could not be modelled, and why."""

    what: str
    requests: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Source:
    """The log, as far as it may be said."""

    formats: tuple[str, ...]
    lines: int
    requests: int
    skipped: dict[str, int]
    visitors_by: str
    gap_s: float
    at_once_s: float
    resolution_s: float
    durations: bool


@dataclass(frozen=True, slots=True)
class TrafficModel:
    """What production's customers do."""

    version: int
    source: Source
    arrivals: Arrivals
    endpoints: tuple[EndpointModel, ...]  # most requests first
    parameters: tuple[Param, ...]
    merges: tuple[Merge, ...]
    left_out: tuple[Note, ...]
    session_s: float | None  # mean, from the first request to the last answer; None: no sessions
    session_requests: float | None  # mean
    users: float | None  # present at the peak, by Little's law
    sampled: int  # one of this many visitors was followed
    scales: dict[str, float] = field(default_factory=dict)  # scenario that was made of it -> its scale

    @property
    def replayed(self) -> bool:
        """Whether the scenario plays the log's own curve again, instead of the level of its peak."""
        return self.arrivals.last_t - self.arrivals.first_t <= LONGEST_REPLAY_S

    @property
    def fills(self) -> bool:
        """Whether a run starts with customers present: at the level of a peak, or in the midst of a log."""
        carried = self.arrivals.carried
        return not self.replayed or carried > _FEW_CARRIED * (self.arrivals.peak.concurrency or math.inf)

    @property
    def walks(self) -> bool:
        """Whether sessions could be modelled."""
        return self.session_s is not None


_MODEL: Final = TypeAdapter(TrafficModel)
_MOST_BYTES: Final = 32_000_000


def to_json(model: TrafficModel) -> str:
    """traffic.json."""
    return json.dumps(_rounded(asdict(model)), indent=1) + "\n"


def read_model(path: Path) -> TrafficModel:
    """Read traffic.json. Raises UsageError with the file and what is wrong with it."""
    try:
        return _MODEL.validate_json(read_at_most(path, _MOST_BYTES).decode("utf-8"))
    except OSError as error:
        raise UsageError([f"{path}: cannot be read: {error.strerror}"]) from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise UsageError(
            [f"{path}: is no traffic.json of this version of rushhour: {_first(error)}"]
        ) from None


def _first(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"
    return str(error)


def _rounded(value: Any) -> Any:
    """Six significant digits: the rest of a float is noise. Times since 1970 keep their milliseconds."""
    if isinstance(value, float):
        return round(value, 3) if abs(value) > 1e6 else float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(part) for part in value]
    return value


def expected_visits(endpoints: tuple[EndpointModel, ...]) -> dict[str, float]:
    """How often a session visits each endpoint, by the model: begin + visits x transitions, to its limit."""
    begin = {endpoint.name: endpoint.begin for endpoint in endpoints}
    visits, now = dict(begin), dict(begin)
    for _ in range(_MOST_STEPS):
        following = dict.fromkeys(begin, 0.0)
        for endpoint in endpoints:
            if endpoint.after is None or not now[endpoint.name]:
                continue
            for share, to in (
                (endpoint.after.at_once, endpoint.at_once),
                (endpoint.after.think, endpoint.think),
            ):
                for name, part in to.items():
                    following[name] += now[endpoint.name] * share * part
        now = following
        for name, more in now.items():
            visits[name] += more
        if sum(now.values()) < _NEGLIGIBLE:
            break
    return visits


_MOST_STEPS: Final = 20_000
_NEGLIGIBLE: Final = 1e-6


def mean_session_s(endpoints: tuple[EndpointModel, ...], visits: dict[str, float]) -> float:
    """Seconds from a session's first request to its last answer, by the model.

    What a page asks for in parallel takes the time of its longest answer; here that of the first counts.
    """
    total = 0.0
    for endpoint in endpoints:
        pause = 0.0
        if endpoint.after is not None:
            at_once_s = 0.0 if endpoint.parallel else mean_of(endpoint.after.at_once_s)
            pause = endpoint.after.at_once * at_once_s + endpoint.after.think * mean_of(
                endpoint.after.think_s
            )
        total += visits[endpoint.name] * (endpoint.mean_s + pause)
    return total
