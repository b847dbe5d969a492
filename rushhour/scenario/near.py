"""Names the known name that a mistyped one is near (pure)."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean NAME? " for the known name that is nearest; empty if none is near."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]}? " if close else ""
