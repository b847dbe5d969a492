"""Encodes the facts of a run as lines of JSON, without secrets."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

from rushhour.rundir import facts as f
from rushhour.rundir.losses import NOTIFICATIONS
from rushhour.rundir.masking import mask_environment, mask_text, mask_urls

EVENTS: Final = "events.jsonl"
POOL_KINDS: Final[dict[str, type[f.PoolFact]]] = {
    "process": f.AgentProcess,
    "sample": f.PoolSample,
    "checkout": f.CheckOut,
    "site": f.SiteTotal,
    "timeout": f.PoolTimeout,
    "times": f.PoolTimes,
    "doing": f.PoolDoing,
    "inherited": f.Inherited,
    "loop": f.LoopSample,
    "engines": f.EnginesMade,
    "collected": f.Collected,
    "fault": f.AgentFault,
}
_KIND_OF: Final[dict[type, str]] = {fact: kind for kind, fact in POOL_KINDS.items()}
FILE_OF: Final[dict[type, str]] = {
    f.RequestCount: "requests.jsonl",
    f.GeneratorSample: "generator.jsonl",
    f.ServerSample: "postgres.jsonl",
    f.HostSample: "host.jsonl",
    f.Event: EVENTS,
    f.Notification: NOTIFICATIONS,
    f.ServiceSeen: "services.jsonl",
    **dict.fromkeys(_KIND_OF, "pool.jsonl"),
}
FACT_FILES: Final = tuple(dict.fromkeys(FILE_OF.values()))
_COMMANDS: Final = frozenset({"command", "setup", "arguments", "partner"})  # of a scenario


def plain(value: object) -> Any:
    """Return what json can encode for what it cannot; it asks again for what lies deeper.

    No secret of a program's environment or command goes into a run directory.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: _plain_field(name, getattr(value, name)) for name in value.__dataclass_fields__}
    return str(value)


def _plain_field(name: str, value: Any) -> Any:
    if name == "environment" and isinstance(value, Mapping):
        return mask_environment(value)
    if isinstance(value, str) and name in _COMMANDS:
        return mask_text(value)
    return value


def _masked(value: Any) -> Any:
    """Return plain data with every text in it masked."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {name: _masked(part) for name, part in value.items()}
    return [_masked(part) for part in value] if isinstance(value, (list, tuple)) else value


_line: Final = json.JSONEncoder(separators=(",", ":"), default=plain).encode


def encode(fact: object) -> str:
    """Encode a fact as a line of JSON; pool facts start with the key `fact`, their kind."""
    kind = _KIND_OF.get(type(fact))
    encodable = plain(fact)
    if isinstance(fact, f.Event):  # its details may be lines of a log
        encodable = _masked(encodable)
    return mask_urls(_line({"fact": kind} | encodable if kind else encodable))
