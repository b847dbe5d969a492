"""A run directory -> alarms.json, and what the report shows of the team's alarms."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rushhour.alarms.audit import ATTENTION_S
from rushhour.alarms.events import Policy
from rushhour.alarms.policies import load_policies
from rushhour.alarms.prometheus import PrometheusPolicy
from rushhour.alarms.real_config import RealAlerting, contradictions
from rushhour.alarms.real_pages import beside_real
from rushhour.alarms.rule_file import rule_files
from rushhour.alarms.sources import of_run
from rushhour.alarms.study import Scale, Study, as_json, study
from rushhour.errors import UsageError
from rushhour.report.alarms import AlarmSection, section
from rushhour.report.files import write
from rushhour.rundir import History, RunDir
from rushhour.scenario.model import Scenario

ALERTS: Final = Path("infra/alerts")  # below the service's root


def audit_run(
    run: RunDir,
    history: History,
    policies: Sequence[Policy],
    scale: Scale | None = None,
    attention_s: float = ATTENTION_S,
) -> Study | None:
    """Audit a run, and write alarms.json and the advised rule files beside it; None when no load started."""
    timeline = of_run(history, run.path.name)
    if timeline is None:
        return None
    one = study(policies, timeline, scale or Scale(), attention_s)
    one = replace(one, real=beside_real(policies, history))
    run.write_json("alarms.json", as_json(one))
    for name, text in rule_files(one.advice).items():
        write(run.file(name), text)
    return one


def unheard(expected: Sequence[str], one: Study | None) -> tuple[str, ...]:
    """Which of these policies leave failures unannounced, in words; all of them where nothing was audited."""
    audits = {each.policy.name: each for each in one.audits} if one else {}
    words = []
    for name in expected:
        if (found := audits.get(name)) is None:
            words.append(f"alarm {name} was to tell of every failure, and could not be audited")
        elif found.sleeps:
            words.append(
                f"alarm {name} sleeps through it: {found.unannounced:,} of {found.failures:,} failures of an "
                f"evening unannounced, {found.longest_s / 60:.0f} minutes of silence"
            )
    return tuple(words)


def unaudited(expected: Sequence[str], one: Study | None) -> tuple[str, ...]:
    """Which of these policies could not be replayed, and why."""
    return tuple(
        f"alarm {each.policy.name} is unknown: {each.unknown}"
        for each in (one.audits if one else ())
        if each.unknown and each.policy.name in expected
    )


def unknown_alarms(scenario: Scenario) -> list[str]:
    """Problems with a scenario's `expect_alarms`. Raises UsageError for policy files that cannot be read."""
    if not scenario.expect_alarms:
        return []
    folder = Path(scenario.target.root) / ALERTS
    known = [policy.name for policy in load_policies([folder])] if folder.is_dir() else []
    return [
        f"{scenario.name}: expect_alarms: no policy {name!r} in {ALERTS}; known: {', '.join(known) or 'none'}"
        for name in scenario.expect_alarms
        if name not in known
    ]


def real_alerting(scenario: Scenario) -> RealAlerting:
    """The Prometheus policies that lie with the service, to be run for real.

    Raises UsageError where there are none, or where one Prometheus cannot run them together.
    """
    folder = Path(scenario.target.root) / ALERTS
    found = load_policies([folder]) if folder.is_dir() else []
    policies = tuple(one for one in found if isinstance(one, PrometheusPolicy))
    if not policies:
        raise UsageError([f"--observability: no policy of `system: prometheus` in {folder}"])
    if problems := contradictions(policies):
        raise UsageError([f"--observability: {problem}" for problem in problems])
    return RealAlerting(policies)


def alarm_section(run: RunDir, history: History, scenario: Scenario) -> AlarmSection | None:
    """For the report: the policies that lie with the service, where it has any."""
    folder = Path(scenario.target.root) / ALERTS
    if not folder.is_dir():
        return None
    try:
        one = audit_run(run, history, load_policies([folder]))
    except UsageError as error:  # the run itself is judged all the same
        return AlarmSection(None, problem=str(error))
    return section(one) if one else None
