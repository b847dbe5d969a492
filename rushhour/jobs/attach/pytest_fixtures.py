"""Finds what a fixture that is wider than a test can reach, as a connection in its session."""

from __future__ import annotations

import gc
import threading
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

MOST_OBJECTS = 100_000  # looked through for the owner of a connection; beyond them it is the test's


def identity_of(fixturedef: pytest.FixtureDef[Any]) -> str:
    return f"{fixturedef.baseid}::{fixturedef.argname}"  # fixtures of one name may stand in several files


def namespace_of(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> object:
    """Return the attributes of a class or module, where its set-up code keeps what its teardown closes."""
    if fixturedef.scope == "class" and request.cls is not None:
        return list(vars(request.cls).values())
    if fixturedef.scope == "module" and fixturedef.argname.startswith("_xunit_"):
        return list(vars(request.module).values())
    return None


def reachable(roots: object) -> Iterator[object]:
    """Yield all that objects refer to, without modules, classes and pytest, which refer to everything."""
    seen: set[int] = set()
    waiting: list[object] = [roots]
    while waiting and len(seen) < MOST_OBJECTS:
        found = waiting.pop()
        kind = type(found)
        if id(found) in seen or isinstance(found, ModuleType | type) or _is_of_pytest(kind):
            continue
        seen.add(id(found))
        yield found
        waiting += _referents(found)


def _referents(found: object) -> Iterable[object]:
    if isinstance(found, FunctionType):  # not its globals
        return [*(found.__closure__ or ()), found.__defaults__]
    own = vars(found).values() if isinstance(found, threading.local) else ()  # as a scoped session's registry
    return [*gc.get_referents(found), *own]


def _is_of_pytest(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in {"_pytest", "pluggy", "pytest"}
