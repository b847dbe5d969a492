"""What `rushhour drill hotfix` does; `cli` parses and turns the outcomes into exit codes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.text import Text

from rushhour.errors import UsageError
from rushhour.jobs.drill import side_by_side as together
from rushhour.jobs.drill.facts import VERDICT_OF, Drill
from rushhour.jobs.drill.page import junit, markdown, terminal
from rushhour.jobs.drill.run import drill_scenario, run_drill
from rushhour.load.check import check_locustfiles
from rushhour.load.machine import check_machine, make_room
from rushhour.process.guard import Guard
from rushhour.run import RunContext
from rushhour.rundir.directory import write_whole
from rushhour.rundir.facts import BYS, By
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Scenario
from rushhour.screen.console import make_console
from rushhour.screen.make import make_screen
from rushhour.stack.fleet import FleetStack, Plan
from rushhour.stack.processes.fleet import EmbeddedFleetStack
from rushhour.stack.processes.stack import EmbeddedStack
from rushhour.stack.swarm.stack import SwarmStack

BEFORE: Final = "1.0"  # what a rollback goes back to

console = make_console()


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """What the command was given."""

    by: tuple[str, ...]
    stack: str
    services: int
    scenario: str
    release: str
    hotfix: str
    hotfix_image: str | None
    image: str | None
    users: int | None
    duration: float
    scenarios: Path
    runs: Path

    @property
    def ways(self) -> tuple[By, ...]:
        """In the order of asking, each once. Raises UsageError for what the embedded stack has not."""
        if "all" in self.by:
            return BYS if self.stack == "swarm" else ("update", "rollback")
        return tuple(dict.fromkeys(by for asked in self.by for by in BYS if by == asked))

    def plan(self, by: By) -> tuple[Scenario, Plan]:
        """Plan a drill: its load, and the change. Raises UsageError."""
        scenario = load_scenarios(self.scenarios).select([self.scenario])[0]
        known = scenario.target.releases
        problems = [
            f"{flag}: unknown release {release!r}; known: {', '.join(known)}"
            for flag, release in (("--release", self.release), ("--hotfix", self.hotfix))
            if release not in known
        ]
        if self.stack == "embedded":
            problems += [
                f"{flag} runs in a container: it needs --stack swarm"
                for flag, given in (("--hotfix-image", self.hotfix_image), ("--image", self.image))
                if given
            ]
            if by == "stack-deploy":
                problems.append("--by stack-deploy is Docker's: it needs --stack swarm")
        if by == "rollback" and self.hotfix_image:
            problems.append("--hotfix-image: a rollback goes back to what ran before; leave one of them out")
        if problems:
            raise UsageError(problems)
        chosen = drill_scenario(scenario, release=self.release, users=self.users, duration_s=self.duration)
        hotfix = BEFORE if by == "rollback" else self.hotfix
        return chosen, Plan(by, hotfix, self.services, self.hotfix_image, self.image)


def hotfix(options: DrillOptions) -> list[str]:
    """Run the drill, once for each way of bringing the hotfix; the verdicts in order."""
    plans = [options.plan(by) for by in options.ways]
    check_machine(scenario for scenario, _ in plans[:1])  # the ways have the same load
    make_room(scenario for scenario, _ in plans)
    check_locustfiles((scenario for scenario, _ in plans), _say)
    drills: list[Drill] = []
    reports: list[Path] = []
    for scenario, plan in plans:
        with Guard() as guard:
            stack = _stack(options.stack, guard, plan)
            title = f"hotfix drill by {plan.by}, {plan.siblings} siblings, {stack.name} stack"
            console.print(Text(title, "bold"))
            context = RunContext(guard, options.runs, make_screen(console, scenario))
            run, drill = run_drill(scenario, plan, stack, context, say=_say)
            console.print(terminal(drill, run.path))
            drills.append(drill)
            reports.append((run.path / "report.html").relative_to(options.runs))
    if len(drills) > 1:
        page = options.runs / together.PAGE
        files = {
            page: together.page(drills, reports),
            options.runs / "junit.xml": junit(drills),
            options.runs / "summary.md": "\n".join(markdown(drill) for drill in drills),
        }
        write_whole(files)
        console.print(together.side_by_side(drills))
        console.print(f"report  {page}", soft_wrap=True, markup=False)
    return [VERDICT_OF[drill.outcome] for drill in drills]


def _stack(name: str, guard: Guard, plan: Plan) -> FleetStack:
    if name == "swarm":
        return SwarmStack(guard, plan)
    return EmbeddedFleetStack(guard, EmbeddedStack(guard), plan)


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)
