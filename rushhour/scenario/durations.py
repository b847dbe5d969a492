"""Reads durations such as `90s` and `1m30s` (pure)."""

import re
from typing import Final

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(value: object) -> float:
    """Return the seconds of a duration written with units. Raises ValueError otherwise."""
    text = str(value).strip()
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        raise ValueError(f"{value!r} is not a duration; write a number with a unit: 500ms, 30s, 2m, 1h")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
