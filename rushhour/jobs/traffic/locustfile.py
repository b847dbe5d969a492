"""Writes customers.py, the model as a locustfile (pure)."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any, Final

from rushhour.jobs.traffic.model import EndpointModel, TrafficModel, expected_visits
from rushhour.jobs.traffic.pauses import SHARES, After, mean_of

FILL_S: Final = 10.0  # the customers who are present at the peak come within this time
_WIDTH: Final = 110
_LEAST: Final = 0.0005  # a rarer way on is left out


def customers_file(model: TrafficModel, bodies: Mapping[str, Any], *, fill: bool | None = None) -> str:
    """The text of customers.py, for a model with sessions; `bodies` are JSON bodies by endpoint.

    With `fill` those who come first are at any point of their session; by default as the scenario needs it.
    """
    fill = model.fills if fill is None else fill
    by_name = {one.name: one for one in model.endpoints}
    tables = "\n\n".join(_tables(model, by_name, _with_parameters(bodies, model)))
    text = _TEXT.replace("# TABLES", tables).replace("# SHARES", f"SHARES = {_literal(SHARES, 9)}")
    return text.replace("= # FILL_S", f"= {FILL_S if fill else 0:g}")


def _tables(
    model: TrafficModel, by_name: Mapping[str, EndpointModel], bodies: Mapping[str, Any]
) -> list[str]:
    endpoints = model.endpoints
    begin = {one.name: one.begin for one in endpoints if one.begin}
    then = {one.name: one.after for one in endpoints if one.after is not None}
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
            sorted(one.name for one in endpoints if one.parallel),
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
                one.name: {
                    "kept": round(one.kept or 0.0, 4),
                    "bands": [(rank, round(share, 4)) for rank, share in one.skew.bands],
                }
                for one in model.parameters
                if one.skew is not None
            },
        ),
        _table(
            "FILL IN: JSON bodies, which no log has. {customer_id} is the session's own value.",
            "BODIES",
            {
                one.name: bodies.get(one.name, {})
                for one in endpoints
                if one.method in ("POST", "PUT", "PATCH") or one.name in bodies
            },
        ),
        _table(
            "FILL IN: queries, whose values belong to customers. In the log these endpoints had some.",
            "QUERIES",
            {one.name: "" for one in endpoints if one.queries >= 0.01},
        ),
        _table("The paths.", "PATHS", {one.name: one.form for one in endpoints}),
    ]


def _shares(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items() if share >= _LEAST}


def _present(model: TrafficModel) -> dict[str, float]:
    """By endpoint: the share of a session's time that is spent in the pause after it."""
    visits = expected_visits(model.endpoints)
    spent = {one.name: visits[one.name] * _think_s(one.after) for one in model.endpoints}
    total = sum(spent.values())
    return _shares({name: seconds / total for name, seconds in spent.items()}) if total else {}


def _think_s(follows: After | None) -> float:
    return follows.think * mean_of(follows.think_s) if follows else 0.0


def _with_parameters(bodies: Mapping[str, Any], model: TrafficModel) -> dict[str, Any]:
    """A field that is called as a value of the paths takes the session's value."""
    names = {one.name for one in model.parameters}
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


_TEXT: Final = '''\
"""Customers as an access log showed them; written by `rushhour traffic`, to be read and changed by hand.

A customer begins a session, goes from request to request as the log's customers did, thinks as long as they
did, and leaves. With open arrivals that is all; with a number of users the next customer begins. Those who
come first, within FILL_S of the start, are at any point of their session: so a test starts with as many
customers present as the log had. It also runs with stock Locust:

    locust -f customers.py --host http://127.0.0.1:8000 --users 50 --spawn-rate 5
"""

import itertools
import os
import random
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, events, task
from locust.exception import StopUser

# TABLES

# SHARES

FILL_S = # FILL_S
ONE_SESSION = os.environ.get("RUSHHOUR_ONE_SESSION") == "yes"  # set in a run with open arrivals
HERE = Path(__file__).resolve().parent
NUMBERS = itertools.count()


def values_of(name):
    """The values of a parameter, those asked for most first; None: the numbers from 1."""
    file = HERE / "ids" / f"{name}.txt"
    return file.read_text(encoding="utf-8").split() if file.is_file() else None


VALUES = {name: values_of(name) for name in IDS}


def draw(rng, shares):
    """A name by its share; None with what is left to 1."""
    dice = rng.random()
    for name, share in shares.items():
        dice -= share
        if dice < 0:
            return name
    return None


def certainly(rng, shares):
    """A name by its share of all shares together."""
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def seconds_from(rng, seconds):
    """A time by its distribution, which is straight between SHARES."""
    dice = rng.random()
    at = max(1, bisect_left(SHARES, dice))
    low, high = seconds[at - 1], seconds[at]
    return low + (high - low) * (dice - SHARES[at - 1]) / (SHARES[at] - SHARES[at - 1])


def draw_value(rng, name):
    """A value by its rank: first the band of ranks, then a rank in it."""
    dice, lowest = rng.random(), 1
    for rank, share in IDS[name]["bands"]:
        if dice < share:
            break
        lowest = rank + 1
    rank = rng.randint(min(lowest, rank), rank)
    values = VALUES[name]
    return values[(rank - 1) % len(values)] if values else str(rank)


class Clock:
    """When this test started, in this process."""

    started_s = time.monotonic()


@events.test_start.add_listener
def start_clock(**_):
    Clock.started_s = time.monotonic()


class Customer(FastHttpUser):
    session_length = None  # the walk says when a session ends
    connection_timeout = 10.0
    network_timeout = float(os.environ.get("RUSHHOUR_CLIENT_TIMEOUT_S", "60"))

    def on_start(self):
        self.rng = random.Random(f"{os.environ.get('RUSHHOUR_SEED', '1')}/{os.getpid()}/{next(NUMBERS)}")
        self.begin()
        if PRESENT and time.monotonic() - Clock.started_s < FILL_S:
            self.there, self.upcoming = True, [certainly(self.rng, PRESENT)]

    def begin(self):
        """A new customer: an agent of its own, by which the log of the service tells sessions apart."""
        self.values = {}
        self.there = False  # in the midst of a session when the test starts
        self.headers = {"User-Agent": f"Mozilla/5.0 (customer {self.rng.getrandbits(64):016x})"}
        self.upcoming = [certainly(self.rng, BEGIN)]
        self.pause_s = 0.0

    def wait_time(self):
        return self.pause_s

    @task
    def step(self):
        """One request, or those that a page sends in parallel."""
        asked = self.upcoming
        if len(asked) == 1:
            self.ask(asked[0])
        else:
            gevent.joinall([gevent.spawn(self.ask, name) for name in asked])
        last = asked[-1]
        if self.there:
            self.there, self.pause_s = False, self.rest_s(last)
            self.upcoming = [certainly(self.rng, NEXT[last])]
            return
        followers = []
        while (follower := draw(self.rng, AT_ONCE.get(last, {}))) and len(followers) < 50:
            followers.append(follower)
            if last not in PARALLEL:
                break
            last = follower
        if followers:
            self.upcoming = followers
            self.pause_s = 0.0 if asked[-1] in PARALLEL else seconds_from(self.rng, PAUSE[asked[-1]])
        elif name := self.choose_next(last):
            self.upcoming, self.pause_s = [name], self.think_s
        elif ONE_SESSION:
            raise StopUser
        else:
            self.begin()

    def choose_next(self, name):
        """What the customer asks for after thinking (for `think_s` seconds); None: leaves."""
        chosen = draw(self.rng, NEXT.get(name, {}))
        self.think_s = seconds_from(self.rng, THINK[name]) if chosen else 0.0
        return chosen

    def rest_s(self, name):
        """What is left of a think time: who is met while thinking thinks long, and has done so in part."""
        pauses = [seconds_from(self.rng, THINK[name]) for _ in range(8)]
        return self.rng.choices(pauses, weights=pauses)[0] * self.rng.random()

    def ask(self, name):
        """Send a request. Add what your service needs, such as a log-in's token in `self.headers`."""
        method, _, _ = name.partition(" ")
        path = PATHS[name].format_map(Values(self))
        query = QUERIES.get(name)
        body = filled(BODIES.get(name), Values(self))
        self.client.request(
            method,
            f"{path}?{query}" if query else path,
            name=name.partition(" ")[2],
            json=body or None,
            headers=self.headers,
        )


class Values:
    """The values of a customer's session, drawn where they are needed."""

    def __init__(self, customer):
        self.customer = customer

    def __getitem__(self, name):
        customer = self.customer
        if name not in customer.values or customer.rng.random() >= IDS[name]["kept"]:
            customer.values[name] = draw_value(customer.rng, name)
        return customer.values[name]


def filled(part, values):
    """A body with the session's values: `{customer_id}` becomes the value, digits become a number."""
    if isinstance(part, dict):
        return {key: filled(inner, values) for key, inner in part.items()}
    if isinstance(part, str) and part[:1] == "{" and part[1:-1] in IDS:
        text = values[part[1:-1]]
        return int(text) if text.isdigit() else text
    return part
'''
