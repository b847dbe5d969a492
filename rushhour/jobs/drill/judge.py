"""Snapshots, figures and roll-out -> was it proven that the hotfix cures, and touches nothing else (pure)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from rushhour.errors import RunDataError
from rushhour.jobs.drill.facts import Change, Drill, Figures, Outcome
from rushhour.jobs.drill.figures import figures_of
from rushhour.jobs.drill.proof import compare
from rushhour.metrics.locustfile import count_of_errors
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.rundir.facts import Rollout, ServiceState
from rushhour.scenario.model import Scenario
from rushhour.verdict.judged import RAISED_NOTHING, judged_thresholds, raised_words, violated_words
from rushhour.verdict.lost import RESTS_ALL, SERVICES, lost_in_words
from rushhour.verdict.trust import log_lines

QUIET_S: Final = 5.0  # less than this without a 5xx proves nothing
END_S: Final = 1.0  # a leak that was seen so late was not drained
SILENT_S: Final = 3.0  # requests are counted by the second, and the last ones come late

REQUESTS: Final = "requests.jsonl"
POOL: Final = "pool.jsonl"
EVENTS: Final = "events.jsonl"
HOST: Final = "host.jsonl"

_ROLLOUT: Final = TypeAdapter(Rollout)


@dataclass(frozen=True, slots=True)
class Failure:
    """What speaks against the hotfix, and the file that it was read from.

    `absent`: it rests on rows that are not there, so that rows which were lost may have said otherwise.
    """

    text: str
    file: str
    absent: bool = False

    def stands(self, losses: Sequence[f.Loss]) -> bool:
        """Return whether the failure is proven, whatever was lost."""
        files = RESTS_ALL | {self.file}
        of_it = [loss for loss in losses if loss.file in files]
        return not any(loss.foreign for loss in of_it) and not (of_it and self.absent)


def judge_history(scenario: Scenario, history: History) -> Drill:
    """Return what a drill's run directory says."""
    planned = history.event(f.DRILL)
    detail = planned.detail if planned else {}
    target, hotfix = str(detail.get("target", "unknown")), str(detail.get("hotfix", "unknown"))
    stack = history.environment.stack if history.environment else "unknown"
    rollout, ended_s = _rollout_of(history), history.time_of(f.DRILL_ENDED)
    void = tuple(_void(history))
    if void or planned is None or rollout is None or ended_s is None:
        lost = tuple(lost_in_words(loss) for loss in history.losses)
        return Drill(
            outcome="unknown",
            stack=stack,
            target=target,
            release=scenario.release,
            hotfix=hotfix,
            rollout=None,
            figures=None,
            changes=(),
            target_change=None,
            mutable=(),
            reasons=(*void, *lost) or ("The run directory does not say how the roll-out went",),
            before=(),
            after=(),
            load=_load(scenario),
        )
    bounds = [
        threshold for threshold in judged_thresholds(scenario) if threshold.metric == RAISED_NOTHING.metric
    ]
    errors = count_of_errors(history)
    return judge(
        stack=stack,
        target=target,
        release=scenario.release,
        hotfix=hotfix,
        rollout=rollout,
        figures=figures_of(history, rollout, ended_s),
        before=[seen.state for seen in history.services if seen.when == "before"],
        after=[seen.state for seen in history.services if seen.when == "after"],
        load=_load(scenario),
        raised=[
            raised_words(violated_words(bound, errors), history)
            for bound in bounds
            if errors is not None and not bound.holds(errors)
        ],
        unseen=[f"no data for {bound.expr}" for bound in bounds if errors is None],
        losses=history.losses,
    )


def judge(
    *,
    stack: str,
    target: str,
    release: str,
    hotfix: str,
    rollout: Rollout,
    figures: Figures,
    before: Sequence[ServiceState],
    after: Sequence[ServiceState],
    load: str = "",
    raised: Sequence[str] = (),
    unseen: Sequence[str] = (),
    losses: Sequence[f.Loss] = (),
) -> Drill:
    """Judge a drill: every reason is a sentence, and the outcome is the worst of them.

    `raised` says what the locustfile raised, `unseen` what has no data, `losses` what the run's files lack.
    """
    changes = compare(before, after)
    siblings = tuple(change for change in changes if change.name != target)
    own = next((change for change in changes if change.name == target), None)
    found = [
        *_rollout(rollout),
        *_siblings(siblings, rollout),
        *_answers(before, after, target),
        *_cure(rollout, figures),
        *(Failure(text, EVENTS) for text in raised),
    ]
    failed = [item.text for item in found if item.stands(losses)]
    unknown = [lost_in_words(loss) for loss in losses]
    unknown += [f"not proven, since rows were lost: {item.text}" for item in found if not item.stands(losses)]
    unknown += [*unseen, *_blind(figures, siblings, rollout)]
    outcome: Outcome = "not proven" if failed else "unknown" if unknown else "proven"
    return Drill(
        outcome=outcome,
        stack=stack,
        target=target,
        release=release,
        hotfix=hotfix,
        rollout=rollout,
        figures=figures,
        changes=siblings,
        target_change=own,
        mutable=tuple(state.name for state in after if state.name != target and state.mutable),
        reasons=tuple(failed + unknown),
        before=tuple(before),
        after=tuple(after),
        load=load,
        moved=tuple(state.name for state in after if state.name != target and state.moved),
        lost=tuple(dict.fromkeys(loss.file for loss in losses)),
    )


def _rollout_of(history: History) -> Rollout | None:
    event = history.event(f.ROLLOUT)
    if event is None:
        return None
    try:
        return _ROLLOUT.validate_python(event.detail)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunDataError(f"{EVENTS}: not a roll-out: {where}: {first['msg']}") from None


def _void(history: History) -> Iterator[str]:
    """Yield why the drill came to nothing."""
    broke = history.event(f.STACK_BROKE)
    if broke is not None:
        yield str(broke.detail.get("what", "the stack broke, and no reason was written"))
        yield from log_lines(history)
    elif history.event(f.INTERRUPTED) is not None:
        yield "It was interrupted"
    elif not history.complete:
        yield "It was cut short: no run_ended event"


def _load(scenario: Scenario) -> str:
    load, pool = scenario.load, scenario.pool
    return (
        f"{load.in_words()}, think time {load.think_time:g} s, pool "
        f"{pool.size} + {pool.max_overflow}, time-out {pool.timeout:g} s"
    )


def _rollout(rollout: Rollout) -> Iterator[Failure]:
    if rollout.state == "completed":
        return
    what = (
        "The hotfix never became healthy and was rolled back by itself"
        if rollout.state == "rolled back"
        else f"The roll-out is {rollout.state}"
    )
    yield Failure(f"{what}: {rollout.detail}" if rollout.detail else f"{what}.", EVENTS)


def _siblings(siblings: Sequence[Change], rollout: Rollout) -> Iterator[Failure]:
    """Report changed siblings; a definition that `stack deploy` writes anew without a restart is none."""
    bad = {"restarted"} if rollout.by == "stack-deploy" else {"restarted", "rewritten"}
    for sibling in siblings:
        if sibling.what in bad:
            text = f"{sibling.name} was {sibling.what}: {'; '.join(sibling.how)}"
            yield Failure(text, SERVICES, absent=sibling.how in (("appeared",), ("is gone",)))


def _answers(before: Sequence[ServiceState], after: Sequence[ServiceState], target: str) -> Iterator[Failure]:
    for when, states in (("before", before), ("after", after)):
        silent = [state.name for state in states if state.name != target and not state.reached]
        if silent:
            text = f"{len(silent)} siblings did not answer {when} the hotfix: {', '.join(silent)}"
            yield Failure(text, SERVICES)


def _cure(rollout: Rollout, figures: Figures) -> Iterator[Failure]:
    if rollout.state != "completed":
        return
    if figures.http_5xx_zero_s is None or figures.quiet_s < QUIET_S:
        yield Failure(
            f"HTTP 5xx did not stay at zero: {figures.quiet_s:.0f} s without one at the end, "
            f"{QUIET_S:.0f} s are needed",
            REQUESTS,
            absent=figures.since_5xx_s is None or figures.since_5xx_s > QUIET_S,
        )
    if figures.silent_s > SILENT_S:
        yield Failure(
            f"No request ended in the last {figures.silent_s:.0f} s of the load: no 5xx there is no cure, "
            "the service hangs",
            REQUESTS,
            absent=True,
        )
    if figures.drained_s is None:
        yield Failure(
            "The pool was not drained at the end of the load: connections are leaked",
            POOL,
            absent=figures.since_leak_s is None or figures.since_leak_s > END_S,
        )


def _blind(figures: Figures, siblings: Sequence[Change], rollout: Rollout) -> Iterator[str]:
    if not figures.timeouts_before:
        yield "The pool was not exhausted before the hotfix, so there was nothing to cure; raise the load"
    if not siblings:
        yield "There was no sibling that could have been touched"
    if rollout.state == "completed" and not figures.requests_quiet:
        yield "No request was recorded after the hotfix"
