"""Writes customers.py, the model as a locustfile (pure)."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any, Final

from rushhour.jobs.traffic.model import EndpointModel, TrafficModel, expected_visits
from rushhour.jobs.traffic.pauses import SHARES, After, mean_of
from rushhour.report.embed import asset

FILL_S: Final = 10.0  # the customers who are present at the peak come within this time
_WIDTH: Final = 110
_LEAST: Final = 0.0005  # a rarer way on is left out


def customers_file(model: TrafficModel, bodies: Mapping[str, Any], *, fill: bool | None = None) -> str:
    """The text of customers.py, for a model with sessions; `bodies` are JSON bodies by endpoint.

    With `fill` those who come first are at any point of their session; by default as the scenario needs it.
    """
    fill = model.fills if fill is None else fill
    by_name = {endpoint.name: endpoint for endpoint in model.endpoints}
    tables = "\n\n".join(_tables(model, by_name, _with_parameters(bodies, model)))
    text = (
        asset("customers.txt", __package__)
        .replace("# TABLES", tables)
        .replace("# SHARES", f"SHARES = {_literal(SHARES, 9)}")
    )
    return text.replace("= # FILL_S", f"= {FILL_S if fill else 0:g}")


def _tables(
    model: TrafficModel, by_name: Mapping[str, EndpointModel], bodies: Mapping[str, Any]
) -> list[str]:
    endpoints = model.endpoints
    begin = {endpoint.name: endpoint.begin for endpoint in endpoints if endpoint.begin}
    then = {endpoint.name: endpoint.after for endpoint in endpoints if endpoint.after is not None}
    return [
        _table("What a session begins with, and in which share of the sessions.", "BEGIN", _shares(begin)),
        _table(
            "What the page or app itself asks for after each answer, as a share of these answers.",
            "AT_ONCE",
            {
                name: found
                for name, follows in then.items()
                if (
                    found := _shares(
                        {to: follows.at_once * share for to, share in by_name[name].at_once.items()}
                    )
                )
            },
        ),
        _table(
            "What the customer asks for next, where nothing followed at once. The rest, up to 1, leaves.",
            "NEXT",
            {
                name: found
                for name, follows in then.items()
                if follows.at_once < 1
                and (
                    found := _shares(
                        {
                            to: follows.think / (1 - follows.at_once) * share
                            for to, share in by_name[name].think.items()
                        }
                    )
                )
            },
        ),
        _table(
            "Think times in seconds after each answer, at SHARES of them: the eleventh is the median.",
            "THINK",
            {name: _numbers(follows.think_s) for name, follows in then.items() if follows.think_s},
        ),
        _table(
            "Pauses in seconds before what follows at once, at SHARES of them.",
            "PAUSE",
            {name: _numbers(follows.at_once_s) for name, follows in then.items() if follows.at_once_s},
        ),
        _table(
            "After these, what follows at once is sent in parallel.",
            "PARALLEL",
            sorted(endpoint.name for endpoint in endpoints if endpoint.parallel),
        ),
        _table(
            "Share of the customers present who think after this answer: so the test begins.",
            "PRESENT",
            _present(model),
        ),
        _table(
            "How unequally values are drawn: (rank, share of requests for all ranks up to it). `kept` is\n"
            "the share that repeats the session's last value. Values are the lines of ids/NAME.txt beside\n"
            "this file, those asked for most first; without the file they are the numbers from 1.",
            "IDS",
            {
                parameter.name: {
                    "kept": round(parameter.kept or 0.0, 4),
                    "bands": [(rank, round(share, 4)) for rank, share in parameter.skew.bands],
                }
                for parameter in model.parameters
                if parameter.skew is not None
            },
        ),
        _table(
            "FILL IN: JSON bodies, which no log has. {customer_id} is the session's own value.",
            "BODIES",
            {
                endpoint.name: bodies.get(endpoint.name, {})
                for endpoint in endpoints
                if endpoint.method in ("POST", "PUT", "PATCH") or endpoint.name in bodies
            },
        ),
        _table(
            "FILL IN: queries, whose values belong to customers. In the log these endpoints had some.",
            "QUERIES",
            {endpoint.name: "" for endpoint in endpoints if endpoint.queries >= 0.01},
        ),
        _table("The paths.", "PATHS", {endpoint.name: endpoint.form for endpoint in endpoints}),
    ]


def _shares(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items() if share >= _LEAST}


def _present(model: TrafficModel) -> dict[str, float]:
    """By endpoint: the share of a session's time that is spent in the pause after it."""
    visits = expected_visits(model.endpoints)
    spent = {endpoint.name: visits[endpoint.name] * _think_s(endpoint.after) for endpoint in model.endpoints}
    total = sum(spent.values())
    return _shares({name: seconds / total for name, seconds in spent.items()}) if total else {}


def _think_s(follows: After | None) -> float:
    return follows.think * mean_of(follows.think_s) if follows else 0.0


def _with_parameters(bodies: Mapping[str, Any], model: TrafficModel) -> dict[str, Any]:
    """A field that is called as a value of the paths takes the session's value."""
    names = {parameter.name for parameter in model.parameters}
    return {
        endpoint: {
            key: f"{{{key}}}" if key in names and isinstance(value, (int, str)) else value
            for key, value in body.items()
        }
        for endpoint, body in bodies.items()
        if isinstance(body, dict)
    }


def _table(comment: str, name: str, value: object) -> str:
    notes = "\n".join(f"# {line}" for line in comment.split("\n"))
    kind = ": dict[str, Any]" if value == {} else ": list[str]" if value == [] else ""
    return f"{notes}\n{name}{kind} = {_literal(value, len(name) + 3)}"


def _literal(value: object, taken: int, indent: str = "") -> str:
    """Python's text of a value, a line an entry where it is too long for a line."""
    line = _line(value)
    if len(indent) + taken + len(line) < _WIDTH and not (isinstance(value, dict) and value and not indent):
        return line
    deeper = indent + "    "
    if isinstance(value, dict):
        rows = [
            f"{deeper}{json.dumps(key)}: {_literal(part, len(key) + 4, deeper)},\n"
            for key, part in value.items()
        ]
        return "{\n" + "".join(rows) + indent + "}"
    if isinstance(value, (list, tuple)):
        opening, closing = "()" if isinstance(value, tuple) else "[]"
        words = ", ".join(map(_line, value)) + ","
        filled = textwrap.fill(
            words, _WIDTH, initial_indent=deeper, subsequent_indent=deeper, break_long_words=False
        )
        return f"{opening}\n{filled}\n{indent}{closing}"
    return line


def _line(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_line(key)}: {_line(part)}" for key, part in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_line, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(_line, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _numbers(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(f"{number:.4g}") for number in numbers)
