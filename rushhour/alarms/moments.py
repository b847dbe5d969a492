"""Moments as exports and options write them: ISO 8601, the spellings of CloudWatch and Grafana (pure)."""

import math
import re
from datetime import UTC, datetime
from typing import Final

_SPELLINGS: Final = ("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%m/%d/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S")
_EPOCH: Final = re.compile(r"\d{9,10}(\.\d+)?|\d{12,13}")
_SPOKEN: Final = "a moment as 2026-11-24T18:00:00Z or 2026-11-24 18:00 (UTC where it names no zone)"


def epoch_of(text: str) -> float:
    """Return seconds since 1970. Raises ValueError with an example of a moment."""
    stripped = text.strip()
    if _EPOCH.fullmatch(stripped):
        return float(stripped) / (1000 if len(stripped) > 11 and "." not in stripped else 1)
    found: datetime | None
    try:
        found = _zoned(datetime.fromisoformat(stripped))
    except ValueError:
        found = next((item for item in (_as(stripped, spelling) for spelling in _SPELLINGS) if item), None)
    if found is None:
        raise ValueError(f"{text!r} is not {_SPOKEN}")
    seconds = found.timestamp()
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{text!r} lies before 1970")
    return seconds


def _as(text: str, spelling: str) -> datetime | None:
    try:
        return datetime.strptime(text, spelling).replace(tzinfo=UTC)
    except ValueError:
        return None


def _zoned(found: datetime) -> datetime:
    return found if found.tzinfo else found.replace(tzinfo=UTC)
