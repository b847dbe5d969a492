"""`aws cloudwatch describe-alarms` as JSON (or YAML) -> raw alarms (pure)."""

from collections.abc import Mapping
from typing import Any

from rushhour.alarms.formats.raw_alarms import RawAlarm
from rushhour.scenario.yaml_node import Node

LISTS = ("MetricAlarms", "CompositeAlarms")


def recognises(plain: Any) -> bool:
    """Return whether this is what `describe-alarms` prints."""
    return isinstance(plain, Mapping) and any(isinstance(plain.get(key), list) for key in LISTS)


def read(node: Node, path: str) -> tuple[list[RawAlarm], list[str], list[str]]:
    """Return its alarms, what is wrong with its lists, and what it does not hold."""
    found, problems, notes = [], [], []
    if node.plain.get("NextToken"):
        line = node.line(("NextToken",))
        notes.append(f"{path}:{line}: holds some of the alarms: its NextToken asks for the others")
    for key in LISTS:
        given = node.plain.get(key) or []
        if not isinstance(given, list):
            problems.append(f"{path}:{node.line((key,))}: {key} must be a list")
            continue
        for at, alarm in enumerate(given):
            place = f"{path}:{node.line((key, at))}"
            if not isinstance(alarm, Mapping):
                problems.append(f"{place}: an alarm must be an object")
            elif key == "CompositeAlarms":
                found.append(RawAlarm({"AlarmRule": None, **alarm}, place))
            else:
                found.append(RawAlarm({k: v for k, v in alarm.items() if k != "AlarmRule"}, place))
    return found, problems, notes
