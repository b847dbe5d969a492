"""Checks a target that is a service of a Compose file, without starting anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rushhour.errors import UsageError
from rushhour.scenario.model import Scenario, Target
from rushhour.scenario.near import did_you_mean
from rushhour.scenario.thresholds import METRICS
from rushhour.scenario.yaml_node import read_yaml

MERGE_TAGS: Final = frozenset({"!override", "!reset"})  # Compose's own, for files laid over each other
Problem = tuple[tuple[str | int, ...], str]


def compose_problems(scenario: Scenario) -> Iterator[Problem]:
    """Yield the key and a message for each problem; nothing for other kinds of target."""
    target = scenario.target
    if not target.compose:
        return
    if target.python:
        yield ("target", "python"), "means nothing with `compose`: the container has its own"
    if scenario.service.arguments:
        yield ("service", "arguments"), "means nothing with `compose`: that file has the command"
    if scenario.service.partner:
        yield ("service", "partner"), "means nothing with `compose`: add it to that file, under `depends_on`"
    yield from _servers(scenario)
    if target.service:
        yield from _in_files(target)
    else:
        yield ("target", "compose"), "needs `service`: which of its services is under test"


def _servers(scenario: Scenario) -> Iterator[Problem]:
    if scenario.wants_servers:
        if scenario.cut_off:
            yield (
                ("faults",),
                "black-hole and restore need a relay, which only the embedded stack has; use pause",
            )
        return
    if scenario.faults:
        yield (
            ("faults",),
            "the database of a Compose file is not rushhour's to break; give the service {primary_url}",
        )
    for number, threshold in enumerate(scenario.thresholds):
        if METRICS[threshold.metric].source == "postgres":
            yield (
                ("thresholds", number),
                f"{threshold.metric} is seen on rushhour's own servers alone; use {{replica_url}}",
            )


def _in_files(target: Target) -> Iterator[Problem]:
    services: list[str] = []
    whole = True  # no file uses `include`
    for name in target.compose:
        path = Path(target.root, name)
        if not path.is_file():
            yield ("target", "compose"), f"no such file: {name} (looked in {target.root})"
            return
        try:
            plain = read_yaml(path, MERGE_TAGS).plain
        except UsageError as error:
            yield ("target", "compose"), str(error)
            return
        found = plain.get("services")
        services += found if isinstance(found, dict) else ()
        whole = whole and "include" not in plain
    if whole and target.service not in services:
        names = ", ".join(services) or "none"
        hint = did_you_mean(target.service, services)
        yield (
            ("target", "service"),
            f"no service {target.service!r} in {', '.join(target.compose)}; {hint}it has: {names}",
        )
