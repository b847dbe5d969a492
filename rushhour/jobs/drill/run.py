"""Run one drill: reads as the table of contents of a drill."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Final

from rushhour.errors import StackError
from rushhour.jobs.drill.facts import Drill
from rushhour.jobs.drill.judge import QUIET_S
from rushhour.jobs.drill.judging import judge_drill
from rushhour.load.placement import place_load
from rushhour.observe.live_state import LiveState
from rushhour.run import POLL_S, Load, Observation, RunContext, observing, recording, stack_up
from rushhour.rundir import Recorder, RunDir, create_run_dir
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.stack.fleet import TARGET, Fleet, FleetStack, Plan

SETTLE_S: Final = QUIET_S + 4  # after the last error the load goes on for this long
AFTER_S: Final = 60.0  # beyond the pool's time-out: by then the hotfix has cured, or it does not
ENOUGH_TIMEOUTS: Final = 3  # one time-out may be an accident


def run_drill(
    scenario: Scenario, plan: Plan, stack: FleetStack, context: RunContext, *, say: Callable[[str], None]
) -> tuple[RunDir, Drill]:
    """Run one drill.

    1. Make the run directory. 2. Record into it, however the drill ends. 3. Bring the fleet up. 4. Observe
    it. 5. Send the load until the pool is exhausted. 6. Look at every service. 7. Bring the hotfix. 8. Follow
    the load until no error has come for a while. 9. Look at every service again. 10. Judge what the run
    directory then holds.

    A stack that breaks makes the drill unknown. KeyboardInterrupt passes through, after the drill so far has
    been judged.
    """
    run = create_run_dir(context.runs, scenario.name)
    with recording(scenario, run, context.screen, judge_drill) as recorder:
        recorder.event(f.DRILL, target=TARGET, by=plan.by, hotfix=plan.image or plan.hotfix)
        with (
            stack_up(scenario, stack, recorder, context.screen) as fleet,
            observing(scenario, fleet, recorder, context.screen) as observation,
            place_load(
                scenario,
                fleet,
                recorder,
                context.guard,
                observation.watcher,
                by_hand=None,
                allow_host=context.allow_host,
            ) as load,
        ):
            say(f"exhausted: {_until_exhausted(observation, load)}")
            _look_at_services("before", fleet, recorder)
            rollout = _bring(fleet, recorder, say)
            if rollout.state == "completed":
                _until_quiet(observation, load)
            _look_at_services("after", fleet, recorder)
            recorder.event(f.DRILL_ENDED)
    return run, judge_drill(run)


def drill_scenario(scenario: Scenario, *, release: str, users: int | None, duration_s: float) -> Scenario:
    """Return the scenario whose load a drill sends: until the drill ends it, at most `duration_s`."""
    load = replace(scenario.load, duration=duration_s, workers=0)
    if users is not None or load.arrivals is None:
        load = replace(load, shape="steady", users=users or load.users, arrivals=None)
    return replace(scenario, name="drill-hotfix", release=release, load=load, faults=())


def _bring(fleet: Fleet, recorder: Recorder, say: Callable[[str], None]) -> f.Rollout:
    recorder.event(f.HOTFIX_BEGAN)
    rollout = fleet.bring(recorder.now_s)
    recorder.event(f.HOTFIX_ENDED, state=rollout.state)
    recorder.event(f.ROLLOUT, **asdict(rollout))
    say(f"$ {rollout.command}")
    took_s = rollout.ended_s - rollout.began_s
    say(f"roll-out {rollout.state} after {took_s:.1f} s {rollout.detail}".rstrip())
    return rollout


def _look_at_services(when: f.When, fleet: Fleet, recorder: Recorder) -> None:
    t_s = round(recorder.now_s(), 4)
    recorder.write([f.ServiceSeen(t_s, when, state) for state in fleet.snapshot()])


def _until_exhausted(observation: Observation, load: Load) -> str:
    """Wait for pool time-outs; returns the pools then. Raises StackError when none comes."""
    within_s = observation.scenario.load.duration / 2
    deadline = time.monotonic() + within_s
    while True:
        state = _look(observation, load)
        if sum(gauge.timeouts for gauge in state.pools) >= ENOUGH_TIMEOUTS:
            observation.screen.done()
            return _pools(state)
        if time.monotonic() > deadline:
            raise StackError(
                f"waited {within_s:.0f} s for {ENOUGH_TIMEOUTS} pool time-outs; "
                f"last seen: {_pools(state)}; there is nothing to cure: raise the load (--users)"
            )


def _until_quiet(observation: Observation, load: Load) -> None:
    """Wait until no error has come for a while, or the time is over: then the judgement says what is left."""
    deadline = time.monotonic() + observation.scenario.pool.timeout + AFTER_S
    count, since_s = -1, time.monotonic()
    while time.monotonic() < min(deadline, since_s + SETTLE_S):
        state = _look(observation, load)
        errors = state.server_errors + sum(gauge.leaked for gauge in state.pools)
        if errors != count:
            count, since_s = errors, time.monotonic()


def _look(observation: Observation, load: Load) -> LiveState:
    load.check()
    if load.poll() is not None:
        raise StackError("the load ended before the drill did; give it more time (--duration)")
    state = observation.look()
    time.sleep(POLL_S)
    return state


def _pools(state: LiveState) -> str:
    return (
        "; ".join(
            f"pool {gauge.pool} {gauge.checked_out} of {gauge.capacity}, "
            f"{gauge.waiting} waiting, {gauge.timeouts} time-outs"
            for gauge in state.pools
        )
        or "no pool yet"
    )
