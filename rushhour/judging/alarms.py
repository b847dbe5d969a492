"""Audits the team's alarms over a run, and makes alarms.json."""

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
from rushhour.rundir import History, RunDir
from rushhour.rundir.directory import json_text
from rushhour.scenario.model import Scenario

ALERTS: Final = Path("infra/alerts")  # relative to the root of the service


def audit_run(
    run: RunDir,
    history: History,
    policies: Sequence[Policy],
    scale: Scale | None = None,
    attention_s: float = ATTENTION_S,
) -> Study | None:
    """Audit alarm policies over a run; None when no load started.

    `attention_s` is how long a page counts as remembered.
    """
    timeline = of_run(history, run.path.name)
    if timeline is None:
        return None
    audited = study(policies, timeline, scale or Scale(), attention_s)
    return replace(audited, real=beside_real(policies, history))


def audit_files(run: RunDir, audited: Study) -> dict[Path, str]:
    """Return path and text of alarms.json and of the rule files of the advice."""
    rules = {run.file(name): text for name, text in rule_files(audited.advice).items()}
    return {run.file("alarms.json"): json_text(as_json(audited)), **rules}


def silent_alarms(expected: Sequence[str], audited: Study | None) -> tuple[str, ...]:
    """Name the expected policies that left failures unannounced or were not audited, one sentence each."""
    audits = {audit.policy.name: audit for audit in audited.audits} if audited else {}
    sentences = []
    for name in expected:
        if (audit := audits.get(name)) is None:
            sentences.append(f"alarm {name} is in expect_alarms and could not be audited")
        elif audit.sleeps:
            sentences.append(
                f"alarm {name} was silent during failures: {audit.unannounced:,} of {audit.failures:,} "
                f"failures of an evening unannounced, longest silence {audit.longest_s / 60:.0f} minutes"
            )
    return tuple(sentences)


def alarms_not_replayed(expected: Sequence[str], audited: Study | None) -> tuple[str, ...]:
    """Name the expected policies that could not be replayed, and why, one sentence each."""
    return tuple(
        f"alarm {audit.policy.name} is unknown: {audit.unknown}"
        for audit in (audited.audits if audited else ())
        if audit.unknown and audit.policy.name in expected
    )


def unknown_alarms(scenario: Scenario) -> list[str]:
    """List the policies of `expect_alarms` that no policy file defines.

    Raises UsageError for a policy file that cannot be read.
    """
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
    """Load the service's Prometheus policies for a real Prometheus and Alertmanager.

    Raises UsageError when there are none, or when one Prometheus cannot run them together.
    """
    folder = Path(scenario.target.root) / ALERTS
    found = load_policies([folder]) if folder.is_dir() else []
    policies = tuple(policy for policy in found if isinstance(policy, PrometheusPolicy))
    if not policies:
        raise UsageError([f"--observability: no policy of `system: prometheus` in {folder}"])
    if problems := contradictions(policies):
        raise UsageError([f"--observability: {problem}" for problem in problems])
    return RealAlerting(policies)


def alarm_section(run: RunDir, history: History, scenario: Scenario) -> AlarmSection | None:
    """Audit the service's own policies for the report; None when it has none or no load started."""
    folder = Path(scenario.target.root) / ALERTS
    if not folder.is_dir():
        return None
    try:
        audited = audit_run(run, history, load_policies([folder]))
    except UsageError as error:  # the run is judged without its alarms
        return AlarmSection(None, problem=str(error))
    return section(audited) if audited else None
