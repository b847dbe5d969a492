"""Reads the arguments of benchmarks, as in `make bench ARGS="generator:1000,20000"` (pure)."""

import math


def whole(text: str, least: int, most: int) -> int:
    """Return a whole number. Raises ValueError for other text, and outside of the bounds."""
    if not text.strip().isdecimal() or not least <= (number := int(text)) <= most:
        raise ValueError(f"{text!r} is no whole number from {least:,} to {most:,}")
    return number


def number(text: str, least: float, most: float) -> float:
    """Return a number. Raises ValueError for other text, and outside of the bounds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise ValueError(f"{text!r} is no number from {least:,g} to {most:,g}")
    return value


def split(text: str, most: int) -> list[str]:
    """Return the parts between commas. Raises ValueError if there are more than `most`."""
    parts = text.split(",")
    if len(parts) > most:
        raise ValueError(f"{len(parts)} values, and at most {most} have a meaning")
    return parts
