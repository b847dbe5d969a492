"""What a customer and a request cost the generator, and how late its timers fire, beside stock Locust.

The shipped customers of locustfiles/referrals.py go through a rush hour on one core, with the plugin and with
Locust alone, against a page that costs next to nothing. wrk, hey and autocannon are the floor: what a request
costs a program that does nothing but send it.

Customers a core are compared in nine pairs of shorter rush hours.

    make bench ARGS=generator               # 1,000, 3,000, 10,000 and 20,000 customers
    make bench ARGS=generator:5000,15000    # other numbers
"""

import json
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from benchmarks.arguments import whole
from benchmarks.harness import ROOT
from benchmarks.interval import median_of
from benchmarks.loads import MOST_FAILED, page_scenario
from benchmarks.machine import MOST_OTHERS, machine_use
from benchmarks.page import page_server
from benchmarks.table import Row
from benchmarks.usage import end_of
from rushhour.load.locust import STOP_GRACE_S, locust_command, locust_environment
from rushhour.load.machine import machine_problems, make_room, this_machine
from rushhour.process.child import start
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.scenario.model import MOST_CUSTOMERS, Load, Scenario

SIZES: Final = (1_000, 3_000, 10_000, 20_000)
FULL: Final = 10_000  # the bounds are for as many
LEAST_MORE: Final = 2.0  # times the customers a core of stock Locust
LEAST_PRESENT: Final = 0.99  # of the customers, on the plateau
SPAWN_RATE: Final = 300.0
THINK_S: Final = 10.0
LATENESS_P99_MS: Final = 20.0
LATENESS_MAX_MS: Final = 250.0
KB_A_CUSTOMER: Final = 40.0
PUSH_AT: Final = 0.53  # of the duration
PUSH_S: Final = 3.0
ENDS_WITHIN_S: Final = 90.0
PAIRS: Final = 9
PAIR_S: Final = 32.0  # a third of which is the plateau
PAIR_SPAWN_RATE: Final = 1_200.0
FLOOR_S: Final = 5
FLOOR_RATE: Final = 1_000  # requests a second, about those of 10,000 customers
FLOOR_CONNECTIONS: Final = 50
LOCUSTFILE: Final = "benchmarks/subjects/watched_customers.py"


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late timers fired in one phase."""

    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, late_ms: Iterable[float]) -> "Lateness":
        ordered = sorted(late_ms) or [math.nan]
        p50, p99 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
        return cls(p50, p99, ordered[-1])

    def __str__(self) -> str:
        return f"{self.p50_ms:.1f}/{self.p99_ms:.0f}/{self.max_ms:.0f}"


@dataclass(frozen=True, slots=True)
class Measured:
    """One rush hour of one Locust process."""

    customers: int  # who were there in the end
    us_a_request: float
    cores: float  # on the plateau
    rate: float  # requests a second on the plateau
    kb_a_customer: float
    whole: Lateness
    spawning: Lateness
    push: Lateness
    plateau: Lateness
    others: float = 0.0  # share of the time of all cores that other programs had

    @property
    def customers_a_core(self) -> float:
        return self.customers / self.cores

    def __str__(self) -> str:
        return (
            f"{self.us_a_request:.0f} us a request, {self.cores:.2f} cores at {self.rate:,.0f} requests/s, "
            f"{self.kb_a_customer:.0f} kB a customer; ms late (p50/p99/max): spawning {self.spawning}, "
            f"push {self.push}, plateau {self.plateau}, whole {self.whole}"
        )


def arguments(text: str) -> list[int]:
    """Read numbers of customers. Raises ValueError, also for more than this machine can carry."""
    sizes = [whole(part, 1, MOST_CUSTOMERS) for part in text.split(",")]
    problems = [problem for size in sizes for problem in machine_problems(_scenario(size), this_machine())]
    if problems:
        raise ValueError("; ".join(problems))
    return sizes


def run(*sizes: int) -> list[Row]:
    """Measure, in about eighteen minutes; or in up to four minutes each for other numbers of customers."""
    rows: list[Row] = []
    make_room(_scenario(customers) for customers in sizes or SIZES)  # the page needs as many files as Locust
    with page_server() as url:
        for customers in sizes or SIZES:
            scenario = _scenario(customers)
            if problems := machine_problems(scenario, this_machine()):
                bound = "all its bounds" if customers == FULL else ""
                rows.append(Row(f"{customers:,} customers", f"not measured: {problems[0]}", bound, None))
                continue
            shipped, stock = (measure(url, scenario, plugin=plugin) for plugin in (True, False))
            rows.append(Row(f"{customers:,} customers", str(shipped), "", None))
            rows.append(Row(f"{customers:,} customers, stock Locust", str(stock), "", None))
            if customers == FULL:
                rows += [*bounds(shipped, stock), against_stock(pairs(url))]
        rows += floors(url)
    return rows


def bounds(shipped: Measured, stock: Measured) -> Iterator[Row]:
    """What one core has to carry."""
    yield Row(
        "generator's schedule",
        f"p99 {shipped.whole.p99_ms:.1f} ms, max {shipped.whole.max_ms:.0f} ms late in the whole rush hour, "
        f"{shipped.customers:,} customers",
        f"p99 <= {LATENESS_P99_MS:.0f} ms, max <= {LATENESS_MAX_MS:.0f} ms, >= {LEAST_PRESENT:.0%} of them",
        shipped.whole.p99_ms <= LATENESS_P99_MS
        and shipped.whole.max_ms <= LATENESS_MAX_MS
        and shipped.customers >= LEAST_PRESENT * FULL,
    )
    yield Row(
        "generator's memory",
        f"{shipped.kb_a_customer:.0f} kB a customer",
        f"<= {KB_A_CUSTOMER:.0f} kB",
        shipped.kb_a_customer <= KB_A_CUSTOMER,
    )
    # A fifth of all customers is due within half a second of the push, and the last of them goes out as late
    # as one core takes to send them all: there lateness falls with the CPU of a request, and no further. A
    # hundredth of all timers fires in the push, so the whole's p99 says nothing else. Elsewhere a tenth is
    # asked for.
    coming = shipped.spawning.p99_ms / stock.spawning.p99_ms
    push = shipped.push.p99_ms / stock.push.p99_ms
    whole = shipped.whole.p99_ms / stock.whole.p99_ms
    cheaper = shipped.us_a_request / stock.us_a_request
    met = coming <= 0.1 and push <= cheaper
    unsure = met and stock.others > MOST_OTHERS  # they make stock Locust late
    yield Row(
        "generator's lateness in stock Locust's",
        f"p99 {coming:.2f} while customers come, {push:.2f} in the push ({cheaper:.2f} of its CPU a "
        f"request), {whole:.2f} in all; other programs had {stock.others:.0%} of the cores",
        f"<= 0.1, <= {cheaper:.2f}",
        None if unsure else met,
        unsure,
    )


def against_stock(pairs: Sequence[tuple[Measured, Measured]]) -> Row:
    """The customers that a core carries, of at least six pairs: with the plugin, and of stock Locust."""
    more = median_of([shipped.customers_a_core / stock.customers_a_core for shipped, stock in pairs])
    return more.row(
        "customers a core in stock Locust's",
        f"x {more:.2f}, {len(pairs)} pairs on the plateau",
        f">= {LEAST_MORE:g}",
        least=LEAST_MORE,
    )


def pairs(url: str) -> list[tuple[Measured, Measured]]:
    """Shorter rush hours with the plugin and of stock Locust, in turns."""
    found = []
    scenario = _scenario(FULL, PAIR_S, PAIR_SPAWN_RATE)
    for number in range(PAIRS):
        order = (False, True) if number % 2 else (True, False)
        measured = {plugin: measure(url, scenario, plugin=plugin) for plugin in order}
        found.append((measured[True], measured[False]))
    return found


def _scenario(customers: int, duration_s: float = 0.0, spawn_rate: float = SPAWN_RATE) -> Scenario:
    duration_s = duration_s or min(max(30.0, customers / 100), 100.0)
    load = Load(
        users=customers,
        duration=duration_s,
        shape="rush-hour",
        spawn_rate=max(spawn_rate, customers / 33),  # the peak is reached before the push notification
        warm_up=0.0,
        think_time=THINK_S,
        locustfile=LOCUSTFILE,
    )
    return page_scenario("generator", load)


def measure(url: str, scenario: Scenario, *, plugin: bool) -> Measured:
    """One rush hour."""
    with tempfile.TemporaryDirectory() as folder, Guard() as guard, machine_use() as use:
        path, run_dir = Path(folder) / "watched.json", RunDir(Path(folder) / "run")
        run_dir.logs.mkdir(parents=True)
        command = locust_command(scenario, url, run_dir, ROOT)
        environment = locust_environment(scenario, run_dir, time.time()) | {"WATCH_FILE": str(path)}
        if not plugin:
            command, environment = without_plugin(command, environment)
        log = run_dir.logs / "locust.log"
        process = start(guard, "Locust", pinned(command), log=log, environment=environment, cwd=ROOT)
        try:
            process.wait(scenario.load.duration + ENDS_WITHIN_S)
            if not path.exists():
                raise RuntimeError(f"Locust measured nothing: {log.read_text()[-2000:]}")
        finally:
            process.stop(STOP_GRACE_S)
        found = read(json.loads(path.read_text()), scenario.load.duration)
    return replace(found, others=use.others)


def without_plugin(
    command: Sequence[str], environment: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """The same load by Locust alone."""
    stock = [part.partition(",")[0] if part.startswith(str(ROOT / LOCUSTFILE)) else part for part in command]
    return stock, {name: value for name, value in environment.items() if name != "RUSHHOUR_RUN_DIR"}


def pinned(command: Sequence[str]) -> list[str]:
    """The command on one core, where the system can do that."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", "0", *command] if taskset and (os.cpu_count() or 1) > 1 else list(command)


def read(watched: Mapping[str, Any], duration_s: float) -> Measured:
    """The figures of a rush hour, by phase. Raises RuntimeError where requests failed, or none was sent."""
    push_s = PUSH_AT * duration_s
    seconds = watched["seconds"]
    sent, failed = seconds[-1][4], watched["failed"]
    if not sent or failed > MOST_FAILED * sent:
        raise RuntimeError(f"{failed:,} of {sent:,} requests to the page failed")
    spawned = {int(b[0]) for a, b in pairwise(seconds) if b[3] > a[3]}
    phases: dict[str, list[float]] = {"spawning": [], "push": [], "plateau": []}
    for t_s, late_ms in watched["late_ms"]:
        if push_s <= t_s < push_s + PUSH_S:
            phases["push"].append(late_ms)
        elif int(t_s) in spawned:
            phases["spawning"].append(late_ms)
        elif t_s >= push_s + PUSH_S:
            phases["plateau"].append(late_ms)
    plateau = [row for row in seconds if row[0] >= push_s + PUSH_S]
    first, last = plateau[0], plateau[-1]
    span_s = last[0] - first[0]
    return Measured(
        customers=last[3],
        us_a_request=(seconds[-1][1] - seconds[0][1]) / sent * 1e6,
        cores=(last[1] - first[1]) / span_s,
        rate=(last[4] - first[4]) / span_s,
        kb_a_customer=(last[2] - watched["idle_rss"]) / last[3] / 1000,
        whole=Lateness.of(late_ms for _, late_ms in watched["late_ms"]),
        spawning=Lateness.of(phases["spawning"]),
        push=Lateness.of(phases["push"]),
        plateau=Lateness.of(phases["plateau"]),
    )


def floors(url: str) -> Iterator[Row]:
    """What a request costs programs that only send it; says which of them is missing."""
    page, per_worker = f"{url}/customers/7/summary", FLOOR_RATE // FLOOR_CONNECTIONS
    connections = str(FLOOR_CONNECTIONS)
    commands = {
        "wrk": ["-t1", f"-c{connections}", f"-d{FLOOR_S}s", page],  # it knows no rate
        "hey": ["-cpus", "1", "-z", f"{FLOOR_S}s", "-c", connections, "-q", str(per_worker), page],
        "autocannon": ["-c", connections, "-d", str(FLOOR_S), "-R", str(FLOOR_RATE), "-j", page],
    }
    for name, arguments in commands.items():
        program = shutil.which(name)
        if program is None:
            yield Row(f"floor: {name}", "not measured: it is not installed", "", None)
            continue
        cpu_s, said = cpu_of([program, *arguments])
        count = requests_in(name, said)
        measured = f"{cpu_s / count * 1e6:.0f} us of CPU a request, {count / FLOOR_S:,.0f} requests/s"
        yield Row(f"floor: {name}", measured, "", None)


def cpu_of(command: Sequence[str]) -> tuple[float, str]:
    """The CPU seconds that a command took, and what it printed."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read()
    used = end_of(process)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with exit code {process.returncode}: {said[-500:]}")
    return used.cpu_s, said


def requests_in(program: str, said: str) -> int:
    """The number of requests in a program's report."""
    if program == "autocannon":
        return int(json.loads(said)["requests"]["total"])
    if program == "hey":
        return sum(int(line.split()[1]) for line in said.splitlines() if line.strip().startswith("[200]"))
    return int(next(line.split()[0] for line in said.splitlines() if " requests in " in line))
