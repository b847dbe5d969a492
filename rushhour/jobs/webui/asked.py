"""What the browser asks for: as a scenario, as the form shows it, and as Locust is to do it."""

from dataclasses import replace

from rushhour.errors import UsageError
from rushhour.jobs.webui.messages import Ask, Choice, Go
from rushhour.load.locust import in_flight_s, locust_environment
from rushhour.load.machine import machine_problems, this_machine
from rushhour.rundir import RunDir
from rushhour.scenario.arrivals import peak, stretched, with_peak
from rushhour.scenario.model import Scenario
from rushhour.scenario.rules import contradictions
from rushhour.stack import set_up_alike
from rushhour.stack.capacity import check_capacity


def asked_for(scenario: Scenario, ask: Ask) -> Scenario:
    """A scenario with what the form says; a run time of another length keeps the shape, stretched over it."""
    load = replace(scenario.load, workers=0)
    if load.arrivals is None:
        load = replace(load, users=ask.users, spawn_rate=ask.spawn_rate)
    else:
        load = replace(load, arrivals=with_peak(load.arrivals, ask.spawn_rate))
    if ask.run_time_s is not None:
        arrivals = load.arrivals and stretched(load.arrivals, ask.run_time_s / load.duration)
        load = replace(load, duration=ask.run_time_s, arrivals=arrivals)
    return replace(scenario, release=ask.release, load=load)


def choice(scenario: Scenario) -> Choice:
    """Return a scenario as the form shows it."""
    load = scenario.load
    if load.arrivals is None:
        return Choice(scenario.name, scenario.release, load.users or 1, load.spawn_rate, load.duration)
    # Locust's form wants a number of users; it has no effect on arrivals.
    return Choice(scenario.name, scenario.release, 1, peak(load.arrivals), load.duration, arrivals=True)


def run_problems(scenario: Scenario) -> list[str]:
    """Return what contradicts itself in what the form asks for, or is more than this machine can do."""
    found = [f"{'.'.join(map(str, where))}: {what}" for where, what in contradictions(scenario)]
    return [*found, *check_capacity(scenario), *machine_problems(scenario, this_machine())]


def same_databases(standing: Scenario, wanted: Scenario) -> bool:
    """Return whether a stack that stands for one scenario has the databases that another needs."""
    return (
        standing.target == wanted.target
        and standing.data == wanted.data
        and standing.postgres == wanted.postgres
        and standing.service.partner == wanted.service.partner
        and set_up_alike(standing, wanted)
        and not wanted.faults  # nor do servers stand behind what a fault works on
        and not standing.faults  # which may have left them paused or locked
    )


def go_of(scenario: Scenario, url: str, run: RunDir, anchor_wall_s: float) -> Go:
    """Return what Locust has to start."""
    load = scenario.load
    settings = locust_environment(scenario, run, anchor_wall_s)
    return Go(
        run_dir=str(run.path.resolve()),
        anchor_wall_s=anchor_wall_s,
        url=url,
        users=load.users or 1,
        spawn_rate=load.spawn_rate,
        warm_up_s=load.warm_up,
        stop_timeout_s=in_flight_s(scenario),
        settings={name: value for name, value in settings.items() if name.startswith("RUSHHOUR_")},
    )


def require_one_locustfile(scenarios: dict[str, Scenario], chosen: Scenario) -> dict[str, Scenario]:
    """The scenarios that this Locust can run: those with the chosen one's customers, in one process."""
    found = {
        name: scenario
        for name, scenario in scenarios.items()
        if scenario.load.locustfile == chosen.load.locustfile
    }
    if chosen.name not in found:
        raise UsageError([f"no scenario {chosen.name!r}"])
    return found
