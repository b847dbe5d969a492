"""Prints what a command found for programs: one JSON array on stdout, an object for each thing."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import click

from rushhour.rundir.masking import mask_urls

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON array with an object for each run, scenario or finding; notes go to stderr.",
)


def print_json(objects: Iterable[object]) -> None:
    """Print dataclasses or mappings as one array; ASCII alone, and what is no finite number is null."""
    click.echo(json.dumps([_plain(item) for item in objects], indent=2, allow_nan=False))


def _plain(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    return mask_urls(str(value)) if isinstance(value, (str, Path)) else value
