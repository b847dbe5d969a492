"""Changed policies as files that `load_policies` reads again: what an advice comes to."""

from collections.abc import Sequence
from io import StringIO
from typing import Any

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from rushhour.alarms.advice import Advice
from rushhour.alarms.events import Policy
from rushhour.alarms.policies import SYSTEMS

_SECONDS = frozenset(
    {
        *("period", "renotify", "long", "short"),
        *("evaluation_interval", "scrape_interval", "healthy_before"),
        *("group_wait", "group_interval", "repeat_interval"),
    }
)


def rule_files(advice: Sequence[Advice]) -> dict[str, str]:
    """Return file name -> text, one file per alarm system, each change with its reason."""
    files: dict[str, str] = {}
    for system in SYSTEMS:
        chosen = [item for item in advice if item.after.policy.system == system]
        if not chosen:
            continue
        yaml, out = YAML(), StringIO()
        yaml.width = 200
        alarms = {item.after.policy.name: _plain(item.after.policy, item.change) for item in chosen}
        yaml.dump({"system": system, "alarms": alarms}, out)
        files[f"advice-{system}.yaml"] = out.getvalue()
    return files


def _plain(policy: Policy, why: str) -> dict[str, Any]:
    adapter: TypeAdapter[Any] = SYSTEMS[policy.system]
    values = adapter.dump_python(policy, mode="json", exclude_defaults=True)
    values |= {key: f"{values[key]:g}s" for key in _SECONDS & values.keys()}
    return {"description": why} | {key: values[key] for key in values if key not in ("name", "description")}
