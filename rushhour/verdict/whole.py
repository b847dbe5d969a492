"""Whether a saved run holds what was written, for `rushhour verify` (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass

from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.verdict.lost import rests_on


@dataclass(frozen=True, slots=True)
class Finding:
    """One loss. Lines count from 1, times are seconds since the run's anchor; None where not seen."""

    file: str
    what: str
    rests_on: str
    first_line: int | None
    last_line: int | None
    from_s: float | None
    to_s: float | None


@dataclass(frozen=True, slots=True)
class RunCheck:
    """What `rushhour verify` says of a run; with `error` set it could not be read."""

    run: str
    error: str | None = None
    ended: bool = False  # the run went to its end; else it was cut short, and says nothing anyway
    manifest: bool = False  # its rows were held against what its writers noted
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return self.error is None and self.ended and not self.findings


def check_of(run: str, history: History) -> RunCheck:
    """The check of a run that was read."""
    return RunCheck(
        run,
        ended=history.complete,
        manifest=not history.unchecked,
        findings=tuple(_finding(loss) for loss in history.losses),
        unchecked=history.unchecked,
    )


def in_lines(check: RunCheck) -> Iterator[str]:
    """For people: a line for the run, and one for each finding."""
    if check.error is not None:
        yield f"UNREADABLE  {check.run}: {check.error}"
        return
    if check.whole:
        yield f"WHOLE  {check.run}"
    elif check.findings:
        yield f"NOT WHOLE  {check.run}"
    else:
        yield f"CUT SHORT  {check.run}: no run_ended event; what it holds is as it was written"
    for one in check.findings:
        lines = "" if one.first_line is None else f", lines {one.first_line:,} to {one.last_line:,}"
        yield f"  {one.file}{lines}: {one.what}"
        yield f"    on it rests {one.rests_on}"
    for line in check.unchecked:
        yield f"  {line}"


def _finding(loss: f.Loss) -> Finding:
    first, last = loss.lines or (None, None)
    return Finding(loss.file, loss.what, rests_on(loss.file), first, last, loss.from_s, loss.to_s)
