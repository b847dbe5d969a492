"""Open arrivals: whether 200 customers a second keep their schedule on one core.

One process of Locust uses one core at most. The customers are the shipped ones of locustfiles/referrals.py,
with short pauses; what answers them costs next to nothing. Lateness is how much later than due a request was
sent: the p99 of each second, of which the 95th percentile counts, as in the verdict of a run.
"""

from typing import Final

from benchmarks.loads import page_scenario, run_loads
from benchmarks.page import page_server
from benchmarks.table import Row
from rushhour.metrics.measure import Metrics, measure
from rushhour.scenario.arrivals import RatePoint
from rushhour.scenario.model import Load

PER_S: Final = 200.0
SECONDS: Final = 25.0
WARM_UP_S: Final = 10.0  # until as many customers leave as arrive
BOUND_MS: Final = 20.0
LEAST_ARRIVED: Final = 0.9  # of the rate: the arrivals are random, 5,000 give or take 70


def run() -> list[Row]:
    """Measure once, in about half a minute."""
    bound = f"p99 <= {BOUND_MS:g} ms, >= {LEAST_ARRIVED * PER_S:g}/s, none turned away"
    with page_server() as url:
        metrics = measured(url)
    late_ms, arrived = metrics.due_late_p99_ms, metrics.arrivals_per_s
    if late_ms is None or arrived is None:
        return [Row("arrivals", "the generator wrote nothing about itself", bound, False)]
    figures = (
        f"{arrived:.0f} customers/s arrived, {metrics.all.achieved_rps or 0:,.0f} requests/s, "
        f"{metrics.users_mean or 0:,.0f} present: sent {late_ms:.1f} ms late at p99, "
        f"{metrics.due_late_max_ms or 0:.0f} ms at most, with "
        f"{metrics.generator_cpu_cores_max or 0:.2f} of a core"
    )
    kept = late_ms <= BOUND_MS and not metrics.turned_away and arrived >= LEAST_ARRIVED * PER_S
    return [Row(f"{PER_S:g} arrivals/s on one core", figures, bound, kept)]


def measured(url: str) -> Metrics:
    """Return the metrics of one load."""
    load = Load(
        arrivals=(RatePoint(0.0, PER_S),), duration=WARM_UP_S + SECONDS, warm_up=WARM_UP_S, think_time=1.0
    )
    scenario = page_scenario("arrivals", load)
    [history] = run_loads(url, [scenario])
    return measure(scenario, history)
