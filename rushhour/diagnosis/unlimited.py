"""Explains pools without a limit, which cannot be exhausted (pure)."""

from collections.abc import Mapping
from typing import Final

_MEANING: Final[Mapping[str, str]] = {
    "NullPool": (
        "opens a connection for each check-out and never waits, so that what is exhausted is the server "
        "(max_connections)"
    ),
    "MergedPools": (
        "stands for all further pools of a line that creates many engines: each has connections of its own, "
        "so that what is exhausted is the server (max_connections)"
    ),
    "StaticPool": "hands one connection to everybody, with no queue: it neither waits nor times out",
    "SingletonThreadPool": "keeps a connection per thread, with no queue: it neither waits nor times out",
    "AssertionPool": "has one connection, and raises AssertionError where a second one is asked for",
}
_OPEN_ENDED: Final = "has no limit: it opens connections until the server refuses one"  # max_overflow=-1


def what_it_means(kind: str) -> str:
    """Explain a pool without a limit, by the name of its class."""
    return f"{kind}, which {_MEANING.get(kind, _OPEN_ENDED)}"
