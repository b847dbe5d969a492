"""Run one drill: reads as the table of contents of a drill."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from rushhour.errors import StackError
from rushhour.jobs.drill.facts import Drill, Rollout, ServiceState
from rushhour.jobs.drill.figures import figures_of
from rushhour.jobs.drill.fleet import TARGET, Fleet, FleetStack, Plan
from rushhour.jobs.drill.judge import QUIET_S, judge
from rushhour.load.locust import STOP_GRACE_S
from rushhour.load.placement import place_load
from rushhour.observe.environment import describe_environment
from rushhour.observe.watch import Watcher, watch
from rushhour.process.child import Child
from rushhour.process.guard import Guard
from rushhour.run import Screen
from rushhour.rundir import Recorder, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario

POLL_S: Final = 0.2
SETTLE_S: Final = QUIET_S + 4  # after the last error the load goes on for this long
AFTER_S: Final = 60.0  # beyond the pool's time-out: by then the hotfix has cured, or it does not
ENOUGH_TIMEOUTS: Final = 3  # one time-out may be an accident


@dataclass(frozen=True, slots=True)
class Seen:
    """What a drill holds when its load has ended."""

    before: tuple[ServiceState, ...]
    after: tuple[ServiceState, ...]
    rollout: Rollout
    ended_s: float


def run_drill(
    plan: Plan, stack: FleetStack, guard: Guard, run: RunDir, screen: Screen, *, say: Callable[[str], None]
) -> Drill:
    """Fleet up -> load -> exhaustion -> hotfix -> proof; drill.json says what came of it.

    A stack that breaks makes the drill unknown. KeyboardInterrupt passes through.
    """
    run.write_json("scenario.json", plan.scenario)
    recorder = Recorder(run)
    try:
        seen = _observe(plan, stack, guard, recorder, screen, say=say)
        recorder.event(f.RUN_ENDED)
    except StackError as error:
        recorder.event(f.STACK_BROKE, what=str(error).splitlines()[0], log_tail=list(error.log_tail))
        drill = _unknown(plan, stack.name, str(error))
        run.write_json("drill.json", drill)
        return drill
    except KeyboardInterrupt:
        recorder.event(f.INTERRUPTED)
        run.write_json("drill.json", _unknown(plan, stack.name, "It was interrupted"))
        raise
    finally:
        screen.done()
        recorder.close()
    drill = judge(
        stack=stack.name,
        target=TARGET,
        release=plan.scenario.release,
        hotfix=plan.image or plan.hotfix,
        rollout=seen.rollout,
        figures=figures_of(load_history(run), seen.rollout, seen.ended_s),
        before=seen.before,
        after=seen.after,
        load=_load(plan),
    )
    run.write_json("drill.json", drill)
    return drill


def _observe(
    plan: Plan,
    stack: FleetStack,
    guard: Guard,
    recorder: Recorder,
    screen: Screen,
    *,
    say: Callable[[str], None],
) -> Seen:
    run, scenario = recorder.run, plan.scenario
    with ExitStack() as exits:
        fleet = exits.enter_context(stack.up(plan, recorder, screen.progress))
        recorder.event(f.STACK_UP, seconds=round(recorder.now_s(), 3))
        run.write_json("environment.json", describe_environment(scenario, stack.name, fleet.running))
        watcher = exits.enter_context(
            watch(recorder, fleet.running, pools=fleet.pools(recorder), extra_meters={})
        )
        load = exits.enter_context(
            place_load(scenario, fleet.running, recorder, guard, watcher, by_hand=None, allow_host=None)
        )
        _until_exhausted(scenario.load.duration / 2, fleet, load, watcher, screen)
        screen.done()
        say(f"exhausted: {_pools(watcher)}")
        before = fleet.snapshot()
        recorder.event(f.HOTFIX_BEGAN)
        rollout = fleet.bring(recorder)
        recorder.event(f.HOTFIX_ENDED, state=rollout.state)
        say(f"$ {rollout.command}")
        took_s = rollout.ended_s - rollout.began_s
        say(f"roll-out {rollout.state} after {took_s:.1f} s {rollout.detail}".rstrip())
        if rollout.state == "completed":
            _until_quiet(scenario.pool.timeout + AFTER_S, fleet, load, watcher, screen)
        after = fleet.snapshot()
        ended_s = recorder.now_s()
        load.stop(STOP_GRACE_S)
        return Seen(before, after, rollout, ended_s)


def _until_exhausted(within_s: float, fleet: Fleet, load: Child, watcher: Watcher, screen: Screen) -> None:
    """Until pool time-outs have come. Raises StackError when none comes."""
    deadline = time.monotonic() + within_s
    while sum(gauge.timeouts for gauge in watcher.state().pools) < ENOUGH_TIMEOUTS:
        _alive(fleet, load, watcher, screen)
        if time.monotonic() > deadline:
            raise StackError(
                f"waited {within_s:.0f} s for {ENOUGH_TIMEOUTS} pool time-outs; "
                f"last seen: {_pools(watcher)}; there is nothing to cure: raise the load (--users)"
            )


def _until_quiet(within_s: float, fleet: Fleet, load: Child, watcher: Watcher, screen: Screen) -> None:
    """Until no error has come for a while, or the time is over: then the judgement tells."""
    deadline = time.monotonic() + within_s
    count, since_s = -1, time.monotonic()
    while time.monotonic() < min(deadline, since_s + SETTLE_S):
        _alive(fleet, load, watcher, screen)
        state = watcher.state()
        errors = state.server_errors + sum(gauge.leaked for gauge in state.pools)
        if errors != count:
            count, since_s = errors, time.monotonic()


def _alive(fleet: Fleet, load: Child, watcher: Watcher, screen: Screen) -> None:
    fleet.running.check_alive()
    load.check()
    if load.poll() is not None:
        raise StackError("the load ended before the drill did; give it more time (--duration)")
    screen.live(watcher.state())
    time.sleep(POLL_S)


def _pools(watcher: Watcher) -> str:
    pools = watcher.state().pools
    return (
        "; ".join(
            f"pool {one.pool} {one.checked_out} of {one.capacity}, "
            f"{one.waiting} waiting, {one.timeouts} time-outs"
            for one in pools
        )
        or "no pool yet"
    )


def _load(plan: Plan) -> str:
    scenario = plan.scenario
    return (
        f"{scenario.load.users:,} customers, think time {scenario.load.think_time:g} s, pool "
        f"{scenario.pool.size} + {scenario.pool.max_overflow}, time-out {scenario.pool.timeout:g} s"
    )


def _unknown(plan: Plan, stack: str, why: str) -> Drill:
    return Drill(
        outcome="unknown",
        stack=stack,
        target=TARGET,
        release=plan.scenario.release,
        hotfix=plan.image or plan.hotfix,
        rollout=None,
        figures=None,
        changes=(),
        target_change=None,
        mutable=(),
        reasons=(why,),
        before=(),
        after=(),
        load=_load(plan),
    )


def drill_scenario(scenario: Scenario, *, release: str, users: int | None, duration_s: float) -> Scenario:
    """The scenario whose load a drill sends: until the drill ends it, at most `duration_s`."""
    load = replace(
        scenario.load, duration=duration_s, shape="steady", users=users or scenario.load.users, workers=0
    )
    return replace(scenario, name="drill-hotfix", release=release, load=load, faults=())
