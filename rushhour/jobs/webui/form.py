"""Locust's form, read and checked (pure)."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from rushhour.jobs.webui.messages import Ask, Choice, Welcome
from rushhour.scenario.durations import seconds_of
from rushhour.scenario.model import MOST_CUSTOMERS


class FormError(ValueError):
    """Every problem of a form, in one line."""


def read_ask(form: Mapping[str, str], welcome: Welcome, hosts: Collection[str]) -> Ask:
    """Read the form. Raises FormError with all that is wrong."""
    problems: list[str] = []
    choice = choice_of(welcome, form.get("scenario", welcome.chosen))
    if choice is None:
        known = ", ".join(choice.name for choice in welcome.choices)
        problems.append(f"no scenario {form.get('scenario')!r}; known: {known}")
        choice = welcome.choices[0]
    release = form.get("release") or choice.release
    if release not in welcome.releases:
        problems.append(f"no release {release!r}; known: {', '.join(welcome.releases)}")
    if form.get("host", "") not in hosts:
        problems.append(
            f"{form['host']} is not under test: leave the host empty, it is the service that rushhour starts"
        )
    users = _number(form.get("user_count"), choice.users, "users", problems)
    if users != int(users):
        problems.append(f"{users:g} users: a whole number")
    spawn_rate = _number(form.get("spawn_rate"), choice.spawn_rate, "users started/second", problems)
    run_time_s = _seconds(form.get("run_time", ""), problems)
    if problems:
        raise FormError("; ".join(problems))
    return Ask(choice.name, release, int(users), spawn_rate, run_time_s)


def choice_of(welcome: Welcome, name: str) -> Choice | None:
    """Return the scenario of that name."""
    return next((choice for choice in welcome.choices if choice.name == name), None)


def form_values(welcome: Welcome, chosen: str | None) -> dict[str, Any]:
    """What Locust's page shows in its form: one scenario's numbers, and the two lists to choose from."""
    choice = (
        choice_of(welcome, chosen or welcome.chosen) or choice_of(welcome, welcome.chosen)
    ) or welcome.choices[0]
    return {
        "num_users": choice.users,
        "spawn_rate": choice.spawn_rate,
        "run_time": run_time_words(choice.run_time_s),
        "host": "",
        "missing_host_warning": False,
        "override_host_warning": False,
        "extra_options": {
            "scenario": _select(
                choice.name, [choice.name for choice in welcome.choices], arrivals_words(welcome)
            ),
            "release": _select(choice.release, list(welcome.releases)),
        },
    }


def run_time_words(seconds: float) -> str:
    """`75s`, as the form takes it."""
    return f"{seconds:g}s"


def form_numbers(welcome: Welcome) -> dict[str, dict[str, Any]]:
    """Per scenario what its fields hold, by their names in the form."""
    return {
        choice.name: {
            "userCount": choice.users,
            "spawnRate": choice.spawn_rate,
            "runTime": run_time_words(choice.run_time_s),
            "release": choice.release,
        }
        for choice in welcome.choices
    }


def arrivals_words(welcome: Welcome) -> str | None:
    """Say below the list of scenarios what the numbers mean for those with arrivals; None without any."""
    names = [each.name for each in welcome.choices if each.arrivals]
    if not names:
        return None
    return (
        f"With open arrivals ({', '.join(names)}) customers arrive and leave: Ramp up is their highest rate "
        "a second, and the number of users has no effect."
    )


def _select(default: str, choices: list[str], help_text: str | None = None) -> dict[str, Any]:
    return {
        "default_value": default,
        "choices": choices,
        "help_text": help_text,
        "is_secret": False,
        "is_required": True,
        "is_multiple": False,
    }


def _number(text: str | None, default: float, what: str, problems: list[str]) -> float:
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= MOST_CUSTOMERS:
        problems.append(f"{what}: {text!r} is not a number above 0, and at most {MOST_CUSTOMERS:,}")
        return default
    return number


def _seconds(text: str, problems: list[str]) -> float | None:
    text = text.strip()
    if not text:
        return None
    try:
        seconds = seconds_of(f"{text}s" if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        problems.append(f"run time: {error}")
        return None
    if seconds <= 0:
        problems.append(f"run time: {text} is not above 0")
    return seconds
