"""Durations of the scenario file: `90s`, `1m30s`."""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationInfo

FROM_YAML: Final = "yaml"  # validation context of a file written by hand, where a duration needs its unit

LONGEST_S: Final = 1e9
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_seconds(value: Any, info: ValidationInfo) -> Any:
    """Convert a duration such as "90s", "1m30s" or "500ms" to seconds. Raises ValueError otherwise."""
    if isinstance(value, float) and info.context != FROM_YAML:  # seconds already: a scenario.json read back
        return value
    return seconds_of(value)


def seconds_of(value: object) -> float:
    """Return the seconds of a duration written with units. Raises ValueError otherwise."""
    text = str(value).strip()
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        raise ValueError(f"{value!r} is not a duration; write a number with a unit: 500ms, 30s, 2m, 1h")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if seconds > LONGEST_S:
        raise ValueError(f"{text[:40]!r} is longer than 30 years")
    return seconds


Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(le=LONGEST_S)]
PositiveSeconds = Annotated[Seconds, Field(gt=0)]
