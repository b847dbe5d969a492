"""Writes the scenario of a traffic model, into a new file or into the user's own."""

import math
import os
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

from rushhour.errors import UsageError
from rushhour.jobs.init.files import scenario_file
from rushhour.jobs.traffic.arrivals import BIN_S
from rushhour.jobs.traffic.locustfile import FILL_S
from rushhour.jobs.traffic.model import TrafficModel
from rushhour.jobs.traffic.notes import RATES, SESSIONS, THINK_TIMES
from rushhour.scenario.file import load_scenarios

_LEAST_PER_S: Final = 0.01  # a rate is above 0
WARM_UP_S: Final = 20
SHORTEST_S: Final = 120
LONGEST_S: Final = 600


@dataclass(frozen=True, slots=True)
class ScenarioAsked:
    """The scenario that is wanted."""

    name: str
    scale: float = 1.0
    extends: str | None = None
    closed: bool = False  # a number of customers that stay, instead of open arrivals


def scenario_lines(model: TrafficModel, asked: ScenarioAsked, locustfile: str) -> list[str]:
    """The lines of the scenario below `scenarios:`, without indent."""
    users = model.users
    rate = model.arrivals.peak.sessions_per_minute
    if users is None or rate is None:
        raise UsageError([f"no scenario: {why}" for why in why_no_scenario(model)])
    session_s = model.session_s or 0.0
    if model.replayed and not asked.closed:
        return _replay(model, asked, locustfile)
    duration = min(max(SHORTEST_S, math.ceil(2 * session_s / 10) * 10), LONGEST_S)
    times = "" if asked.scale == 1 else f"{asked.scale:g} times "
    level = f"{rate * asked.scale:,.0f} sessions a minute"
    return [
        f"{asked.name}:",
        f"  description: Customers as an access log showed them, at {times}its peak - {level}.",
        *([f"  extends: {asked.extends}"] if asked.extends else []),
        "  load:",
        *(
            f"    {line}"
            for line in _customers(users * asked.scale, rate * asked.scale / 60, asked, session_s)
        ),
        f"    duration: {duration}s",
        f"    warm_up: {WARM_UP_S}s",
        f"    locustfile: {locustfile}",
        "  expect: healthy",
    ]


def _replay(model: TrafficModel, asked: ScenarioAsked, locustfile: str) -> list[str]:
    """The scenario of a short log: sessions begin as they did in the log, in steps of ten seconds."""
    first, last = model.arrivals.first_t, model.arrivals.last_t
    span_s = last - first
    points: list[tuple[float, float]] = []
    for bin_t, _, per_minute, _ in model.arrivals.curve:
        if bin_t + BIN_S <= last:  # steps, since a line between bins would not keep the number of sessions
            start, end = max(bin_t - first, 0.0), bin_t + BIN_S - first
            per_s = max(per_minute * asked.scale / 60 * BIN_S / max(end - start, 1.0), _LEAST_PER_S)
            points += [(round(start, 1), per_s), (round(end, 1), per_s)]
    if model.fills:  # the customers who were there already come first
        filling = model.arrivals.carried * asked.scale / FILL_S + points[0][1]
        later = [point for point in points if point[0] > FILL_S]
        points = [(0.0, filling), (FILL_S, filling), (FILL_S, points[0][1]), *later]
    words = ", ".join(f"[{at_s:g}s, {per_s:.3f}/s]" for at_s, per_s in points)
    times = "" if asked.scale == 1 else f"{asked.scale:g} times "
    return [
        f"{asked.name}:",
        f"  description: Customers as an access log showed them, {times}as they came - the log is short.",
        *([f"  extends: {asked.extends}"] if asked.extends else []),
        "  load:",
        "    # new sessions a second, over the log's time; the log is too short for the level of a peak",
        *textwrap.wrap(
            f"arrivals: [{words}]",
            100,
            initial_indent="    ",
            subsequent_indent="      ",
            break_on_hyphens=False,
        ),
        f"    duration: {math.ceil(span_s)}s",
        f"    warm_up: {WARM_UP_S if model.fills else 0}s",
        f"    locustfile: {locustfile}",
        "  expect: healthy",
    ]


def _customers(users: float, per_s: float, asked: ScenarioAsked, session_s: float) -> list[str]:
    """How many customers there are: at first those who are present at the peak come, within FILL_S."""
    present = max(1, round(users))
    law = f"{per_s:.3g} sessions a second x {session_s:.0f} s (Little's law)"
    why = f"{present:,} are present at the peak: {law}"
    if asked.closed:
        return [
            "shape: steady",
            f"users: {present} # {why}",
            f"spawn_rate: {max(1, math.ceil(present / FILL_S))}",
        ]
    first = f"{max(present / FILL_S, per_s):.2f}/s"
    then = f"[{FILL_S:g}s, {max(per_s, 0.001):.3f}/s]"
    return [f"# {why}", f"arrivals: [[0s, {first}], [{FILL_S:g}s, {first}], {then}]"]


def why_no_scenario(model: TrafficModel) -> list[str]:
    """The reasons for which the model has no number of customers."""
    found = [note for note in model.left_out if note.what in (SESSIONS, THINK_TIMES, RATES)]
    return [f"{note.what}: {note.why}" for note in found] or ["the log shows no sessions"]


def new_file(model: TrafficModel, asked: ScenarioAsked, app: str | None) -> str:
    """A scenarios.yaml of its own, beside customers.py."""
    start = scenario_file("shop", app, None, [])
    head = start[: start.index("scenarios:\n")].replace("rushhour init", "rushhour traffic")
    head = head.replace("`rushhour run evening`", f"`rushhour run {asked.name}`")
    lines = "".join(f"  {line}\n" for line in scenario_lines(model, asked, "customers.py"))
    return f"{head}scenarios:\n{lines}"


def write_into(path: Path, lines: list[str], name: str, *, force: bool) -> None:
    """Add a scenario to a file, and change nothing else in it.

    Raises UsageError, and leaves the file as it was, where the result would be no scenario file.
    """
    text = path.read_text(encoding="utf-8")
    changed = _inserted(path, text, lines, name, force=force)
    trial = path.with_name(f".{path.name}.new")
    try:
        trial.write_text(changed, encoding="utf-8")
        load_scenarios(trial)
        trial.replace(path)
    except UsageError as error:
        problems = [problem.replace(str(trial), str(path)) for problem in error.problems]
        hint = "--extends NAME lets it take what it lacks from another scenario"
        raise UsageError([f"{path}: the scenario does not fit in; {hint}:", *problems]) from None
    finally:
        trial.unlink(missing_ok=True)


def _inserted(path: Path, text: str, lines: list[str], name: str, *, force: bool) -> str:
    root: Node = YAML().compose(text)
    scenarios = next((value for key, value in root.value if key.value == "scenarios"), None)
    if not isinstance(scenarios, MappingNode) or scenarios.flow_style or not scenarios.value:
        raise UsageError([f"{path}: its `scenarios:` is no block to add to; add this by hand:", *lines])
    rows = text.splitlines(keepends=True)
    indent = " " * scenarios.value[0][0].start_mark.column
    at, until = _end(rows, scenarios), None
    for key, value in scenarios.value:
        if key.value == name:
            if not force:
                line = key.start_mark.line + 1
                raise UsageError(
                    [f"{path}:{line}: {name} is there already; --force replaces it, --name takes another"]
                )
            at, until = key.start_mark.line, _end(rows, value)
    block = [f"{indent}{line}\n" for line in lines]
    if until is None:
        if rows and not rows[at - 1].endswith("\n"):
            rows[at - 1] += "\n"
        block = ["\n", *block]
    rows[at : until or at] = block
    return "".join(rows)


def _end(rows: list[str], node: Node) -> int:
    """The line after a block; comments and blank lines that follow belong to what comes next."""
    at: int = node.end_mark.line  # where the next part begins
    if at == len(rows) - 1 and not rows[at].endswith("\n"):
        at += 1  # the file ends without a line end
    while at > 0 and (not rows[at - 1].strip() or rows[at - 1].lstrip().startswith("#")):
        at -= 1
    return at


def relative_to_root(customers: Path, root: Path) -> str:
    """The locustfile's path as a scenario names it."""
    return os.path.relpath(customers.resolve(), root.resolve())
