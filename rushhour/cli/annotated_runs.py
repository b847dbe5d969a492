"""Adds judged runs to a command's annotations, with the lines of their service and of the scenario file."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from rushhour.diagnosis import HeldSite
from rushhour.errors import UsageError
from rushhour.jobs.annotate.annotation import Annotation, Outcome, Spot
from rushhour.jobs.annotate.collect import Annotations
from rushhour.jobs.annotate.of_runs import of_run, run_headline, run_name
from rushhour.jobs.annotate.repository import repository
from rushhour.rundir import RunDir, load_history
from rushhour.rundir.facts import CallSite
from rushhour.scenario.model import Scenario
from rushhour.scenario.yaml_node import Node, read_yaml
from rushhour.verdict.judge import Verdict


def add_run(
    annotations: Annotations, run_dir: RunDir, scenario: Scenario, verdict: Verdict, source: Path | None
) -> None:
    """Add a judged run; `source` is the folder of the service, None if it may not be read."""
    if not annotations.wanted:
        return

    def stack_of(site: HeldSite) -> Sequence[str]:
        key = CallSite(site.file, site.line, site.function)
        outs = load_history(run_dir).checkouts
        return next((out.stack for out in outs if out.site == key), ())

    outcome = Outcome(run_name(verdict), verdict.verdict, run_headline(verdict))
    annotations.add(outcome, of_run(scenario, verdict, repository(source), stack_of))


def in_scenario_file(path: Path) -> Callable[[Annotation], Spot | None]:
    """Return what finds the scenario of an annotation in the scenario file."""

    @cache
    def read() -> Node | None:
        try:
            return read_yaml(path)
        except UsageError:  # the file was read before, and has changed since
            return None

    def elsewhere(annotation: Annotation) -> Spot | None:
        node = read()
        if node is None:
            return None
        return repository(None).file(path, node.line(("scenarios", *annotation.about[:1])))

    return elsewhere
