"""Snapshots, figures and roll-out -> was it proven that the hotfix cures, and touches nothing else (pure)."""

from collections.abc import Sequence
from typing import Final

from rushhour.jobs.drill.facts import Change, Drill, Figures, Outcome, Rollout, ServiceState
from rushhour.jobs.drill.proof import compare

QUIET_S: Final = 5.0  # less than this without a 5xx proves nothing
SILENT_S: Final = 3.0  # requests are counted by the second, and the last ones come late


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
) -> Drill:
    """Every reason is a sentence; the outcome is the worst of them."""
    changes = compare(before, after)
    siblings = tuple(one for one in changes if one.name != target)
    own = next((one for one in changes if one.name == target), None)
    failed = [*_rollout(rollout), *_siblings(siblings, rollout), *_answers(before, after, target)]
    failed += _cure(rollout, figures)
    unknown = list(_blind(figures, siblings, rollout))
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
        mutable=tuple(one.name for one in after if one.name != target and one.mutable),
        reasons=tuple(failed + unknown),
        before=tuple(before),
        after=tuple(after),
        load=load,
        moved=tuple(one.name for one in after if one.name != target and one.moved),
    )


def _rollout(rollout: Rollout) -> list[str]:
    if rollout.state == "completed":
        return []
    told = (
        "The hotfix never became healthy and was rolled back by itself"
        if rollout.state == "rolled back"
        else (f"The roll-out is {rollout.state}")
    )
    return [f"{told}: {rollout.detail}" if rollout.detail else f"{told}."]


def _siblings(siblings: Sequence[Change], rollout: Rollout) -> list[str]:
    """`stack deploy` writes every service's definition anew and restarts none: told, not a failure."""
    bad = {"restarted"} if rollout.by == "stack-deploy" else {"restarted", "rewritten"}
    return [f"{one.name} was {one.what}: {'; '.join(one.how)}" for one in siblings if one.what in bad]


def _answers(before: Sequence[ServiceState], after: Sequence[ServiceState], target: str) -> list[str]:
    told = []
    for when, states in (("before", before), ("after", after)):
        silent = [one.name for one in states if one.name != target and not one.reached]
        if silent:
            told.append(f"{len(silent)} siblings did not answer {when} the hotfix: {', '.join(silent)}")
    return told


def _cure(rollout: Rollout, figures: Figures) -> list[str]:
    if rollout.state != "completed":
        return []
    told = []
    if figures.http_5xx_zero_s is None or figures.quiet_s < QUIET_S:
        told.append(
            f"HTTP 5xx did not stay at zero: {figures.quiet_s:.0f} s without one at the end, "
            f"{QUIET_S:.0f} s are needed"
        )
    if figures.silent_s > SILENT_S:
        told.append(
            f"No request ended in the last {figures.silent_s:.0f} s of the load: no 5xx there is no cure, "
            "the service hangs"
        )
    if figures.drained_s is None:
        told.append("The pool was not drained at the end of the load: connections are leaked")
    return told


def _blind(figures: Figures, siblings: Sequence[Change], rollout: Rollout) -> list[str]:
    told = []
    if not figures.timeouts_before:
        told.append(
            "The pool was not exhausted before the hotfix, so there was nothing to cure; raise the load"
        )
    if not siblings:
        told.append("There was no sibling that could have been touched")
    if rollout.state == "completed" and not figures.requests_quiet:
        told.append("No request was recorded after the hotfix")
    return told
