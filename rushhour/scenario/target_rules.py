"""Finds contradictions in a `service:` or `target:` block (pure)."""

import re
import shlex
from collections.abc import Iterator
from typing import Any, Final

from rushhour.rundir.masking import mask_urls
from rushhour.scenario.model import Scenario, Target
from rushhour.scenario.thresholds import METRICS

Problem = tuple[tuple[str | int, ...], str]

WAYS: Final = ("command", "app", "compose", "url")
# Keys that mean nothing for a service that already runs, because rushhour does not start it.
_OF_STARTED: Final = ("setup", "schema", "python", "environment")
_OF_COMPOSE: Final = ("service", "port")
# What a command and the values of `environment` may hold in braces.
PLACEHOLDERS: Final = (
    *("python", "host", "port", "workers", "threads", "release", "primary_url", "replica_url"),
    *("pool_size", "max_overflow", "pool_timeout", "logs", "partner_url"),
)
_PORT: Final = re.compile(r"\{port[}!:]")


def without_other_ways(base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return what a `target:` inherits: its own way to start the service replaces the inherited way."""
    named = {way for way in WAYS if above.get(way)}
    if not named:
        return base
    dropped = {*WAYS, *_OF_COMPOSE, *(_OF_STARTED if "url" in named else ())}
    if "compose" in named:
        dropped.add("python")
    return {key: value for key, value in base.items() if key not in dropped}


def target_problems(scenario: Scenario) -> Iterator[Problem]:
    """Yield the key and a message for each problem."""
    target = scenario.target
    given = [way for way in WAYS if getattr(target, way)]
    if len(given) != 1:
        what = f"has {' and '.join(given)}" if given else "has none"
        yield ("target",), f"needs exactly one of {', '.join(WAYS)}, and {what}"
    if not target.health.startswith("/"):
        yield ("target", "health"), f"{target.health!r} is not a path; write /health"
    if target.app and ":" not in target.app:
        yield ("target", "app"), f"{target.app!r} is no import path; write module:application"
    if target.command and not _gets_port(scenario):
        yield (
            ("target", "command"),
            (
                "{port} is missing: rushhour chooses the port and waits for an answer there; write "
                "{port} where the command, service.arguments or a value of `environment` says where to listen"
            ),
        )
    yield from _unreadable(scenario)
    if target.schema and target.setup:
        yield (
            ("target", "setup"),
            "contradicts `schema`: that one makes the referrals service's tables and rows",
        )
    if not target.compose:
        for key in _OF_COMPOSE:
            if getattr(target, key):
                yield ("target", key), "means nothing without `compose`"
    if target.url:
        if mask_urls(target.url) != target.url:
            yield (
                ("target", "url"),
                (
                    "holds a password, which Locust's command line and its report would show; have the "
                    "locustfile read it from a variable of the environment, and write the URL without it"
                ),
            )
        yield from _black_box(scenario, target)


def _unreadable(scenario: Scenario) -> Iterator[Problem]:
    """Yield the commands that cannot be split, and what stands in braces and is not known."""
    target, service = scenario.target, scenario.service
    commands: dict[tuple[str | int, ...], str] = {
        ("target", "command"): target.command,
        ("target", "setup"): target.setup,
        ("service", "arguments"): service.arguments,
        ("service", "partner"): service.partner,
    }
    for where, text in commands.items():
        try:
            shlex.split(text)
        except ValueError as error:
            yield where, f"cannot be split into words as a shell would: {str(error).lower()}"
    texts = dict(commands)
    if not (target.compose or target.url):
        texts |= {("target", "environment", name): text for name, text in target.environment.items()}
        texts |= {("service", "environment", name): text for name, text in service.environment.items()}
    for where, text in texts.items():
        try:
            text.format_map(dict.fromkeys(PLACEHOLDERS, ""))
        except (KeyError, IndexError, ValueError, AttributeError):  # not shown: it may be part of a secret
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            yield where, f"holds braces that stand for nothing here; known: {known}; {{{{ is a brace itself"


def _gets_port(scenario: Scenario) -> bool:
    target, service = scenario.target, scenario.service
    given = (target.command, service.arguments, *target.environment.values(), *service.environment.values())
    return any(_PORT.search(text) for text in given)


def _black_box(scenario: Scenario, target: Target) -> Iterator[Problem]:
    for key in _OF_STARTED:
        if getattr(target, key):
            yield ("target", key), "means nothing with `url`: that service runs already"
    if scenario.faults:
        yield ("faults",), "a service at a `url` has servers that are not rushhour's to break"
    for number, threshold in enumerate(scenario.thresholds):
        spec = METRICS[threshold.metric]
        if spec.inside and spec.name != "queuepool_timeouts":  # time-outs are also counted by their answers
            yield (
                ("thresholds", number),
                f"{spec.name} is seen inside ({spec.source}) and a `url` is a black box; use `command`",
            )
