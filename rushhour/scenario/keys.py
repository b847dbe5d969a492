"""Which keys a mapping of the scenario file may have, for messages about an unknown key (pure)."""

import typing
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from rushhour.scenario.model import Scenario
from rushhour.scenario.near import did_you_mean


def keys_at(where: Sequence[str | int]) -> list[str]:
    """Return the keys that a scenario has at a place such as `("faults", 0)`; empty if it takes any key."""
    owner: Any = Scenario
    for part in where:
        if isinstance(part, int):  # a place in a list, whose members are alike
            continue
        owner = _dataclass_in(typing.get_type_hints(owner).get(part))
        if owner is None:
            return []
    return [field.name for field in fields(owner)]


def unknown_key(key: str, known: Iterable[str], place: str = "") -> str:
    """Return the message about an unknown key, with the one that is meant, if a name is near it."""
    names = list(known)
    listed = f"; {did_you_mean(key, names)}known: {', '.join(names)}" if names else ""
    return f"unknown key {key!r}{f' in {place}' if place else ''}{listed}"


def _dataclass_in(hint: Any) -> type[Any] | None:
    """Return the dataclass that a type hint holds: `X | None`, `tuple[X, ...]`."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((found for part in typing.get_args(hint) if (found := _dataclass_in(part))), None)
