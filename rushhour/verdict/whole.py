"""Checks whether a saved run is complete, for `rushhour verify` (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass

from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.verdict.lost import rests_on


@dataclass(frozen=True, slots=True)
class Finding:
    """One loss. Lines count from 1, times are seconds since the run's anchor; None when unknown."""

    file: str
    what: str
    rests_on: str
    first_line: int | None
    last_line: int | None
    from_s: float | None
    to_s: float | None


@dataclass(frozen=True, slots=True)
class RunCheck:
    """The result of `rushhour verify` for one run; `error` is set when the run could not be read."""

    run: str
    error: str | None = None
    ended: bool = False  # False: the run was cut short, and its verdict is unknown anyway
    manifest: bool = False  # its rows were compared with the manifests of its writers
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return self.error is None and self.ended and not self.findings


def check_of(run: str, history: History) -> RunCheck:
    """Build the result for a run that could be read."""
    return RunCheck(
        run,
        ended=history.complete,
        manifest=not history.unchecked,
        findings=tuple(_finding(loss) for loss in history.losses),
        unchecked=history.unchecked,
    )


def in_lines(check: RunCheck) -> Iterator[str]:
    """Format a result for people: a line for the run, and two for each finding."""
    if check.error is not None:
        yield f"UNREADABLE  {check.run}: {check.error}"
        return
    if check.whole:
        yield f"WHOLE  {check.run}"
    elif check.findings:
        yield f"NOT WHOLE  {check.run}"
    else:
        yield f"CUT SHORT  {check.run}: no run_ended event; what it holds is as it was written"
    for finding in check.findings:
        first, last = finding.first_line, finding.last_line
        lines = "" if first is None else f", lines {first:,} to {last:,}"
        yield f"  {finding.file}{lines}: {finding.what}"
        yield f"    on it rests {finding.rests_on}"
    for line in check.unchecked:
        yield f"  {line}"


def _finding(loss: f.Loss) -> Finding:
    first, last = loss.lines or (None, None)
    return Finding(loss.file, loss.what, rests_on(loss.file), first, last, loss.from_s, loss.to_s)
