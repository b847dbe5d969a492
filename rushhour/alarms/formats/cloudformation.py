"""CloudFormation templates -> raw alarms: references are followed as far as the template itself says (pure).

Followed are parameters with a default, mappings, conditions, Ref, GetAtt, Sub, Join, Select, Split, FindInMap
and If. What only a deployment knows stays open: an alarm whose numbers depend on it is unknown, by its name.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from rushhour.alarms.formats.documents import mapped
from rushhour.alarms.formats.raw_alarms import RawAlarm, Unresolved
from rushhour.scenario.yaml_node import Node

METRIC, COMPOSITE = "AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"
MAX_DEPTH: Final = 40
MAX_PARTS: Final = 20_000  # values that an alarm is made of: references to references multiply
MAX_CHARACTERS: Final = 100_000
_SCALING: Final = re.compile(r"AWS::(AutoScaling|ApplicationAutoScaling)::ScalingPolicy")
_HOLE: Final = re.compile(r"\$\{(!?)([^}]*)\}")
_LOOP: Final = "Fn::ForEach::"
_ELSEWHERE: Final = re.compile(r"^AWS::(CloudFormation::(Stack|Macro)|Serverless::Application)$|::MODULE$")
_KNOWN_TRANSFORMS: Final = (
    "AWS::LanguageExtensions",
    "AWS::Serverless-2016-10-31",
    "AWS::CodeDeployBlueGreen",
)
_DEPLOYED: Final = "`aws cloudwatch describe-alarms` has the deployed alarms"
_NOTHING: Final = object()  # AWS::NoValue


def recognises(plain: Any) -> bool:
    """Return whether this is a template."""
    if not isinstance(plain, Mapping):
        return False
    resources = plain.get("Resources")
    return "AWSTemplateFormatVersion" in plain or (
        isinstance(resources, Mapping)
        and any(
            isinstance(item, Mapping) and str(item.get("Type", "")).count("::") for item in resources.values()
        )
    )


def read(node: Node, path: str) -> tuple[list[RawAlarm], list[str], list[str]]:
    """Return its alarms, what is wrong with its resources, and what of it is not followed."""
    resources = node.plain.get("Resources")
    if not isinstance(resources, Mapping):
        return [], [f"{path}:{node.line(('Resources',))}: a template has a mapping `Resources:`"], []
    template, found, problems = _Template(node.plain), list[RawAlarm](), []
    notes = _not_followed(node, path, resources)
    for name, resource in resources.items():
        if name.startswith(_LOOP):
            found += _repeated(name, resource, f"{path}:{node.line(('Resources', name))}")
        if not isinstance(resource, Mapping) or resource.get("Type") not in (METRIC, COMPOSITE):
            continue
        place = f"{path}:{node.line(('Resources', name))}"
        properties = resource.get("Properties")
        if not isinstance(properties, Mapping):
            problems.append(f"{place}: {name} has no `Properties:`")
            continue
        template.begin()
        condition = resource.get("Condition")
        holds = None if condition is None else template.holds(condition)
        if holds is False:
            continue  # it is not deployed
        template.begin()
        plain = template.value(properties)
        if isinstance(plain, Unresolved):
            plain = {"AlarmRule" if resource["Type"] == COMPOSITE else "Properties": plain}
        plain["AlarmName"] = template.alarm_name(name)
        if resource["Type"] == COMPOSITE:
            plain.setdefault("AlarmRule", None)
        if condition is not None and holds is None:
            decisive = "AlarmRule" if resource["Type"] == COMPOSITE else "Threshold"
            plain[decisive] = Unresolved(
                f"condition {condition}", "and its file leaves open whether it holds"
            )
        found.append(RawAlarm(plain, place))
    return found, problems, notes


def _repeated(name: str, loop: Any, place: str) -> list[RawAlarm]:
    """Return the alarms of a `Fn::ForEach`, each as a single one that is unknown."""
    bodies = [part for part in loop if isinstance(part, Mapping)] if isinstance(loop, list) else []
    found = []
    for body in bodies:
        for each, resource in body.items():
            kind = resource.get("Type") if isinstance(resource, Mapping) else None
            if kind in (METRIC, COMPOSITE):
                open_value = Unresolved(name, f"which is not repeated here: {_DEPLOYED}")
                decisive = "AlarmRule" if kind == COMPOSITE else "EvaluationPeriods"
                found.append(RawAlarm({"AlarmName": each, decisive: open_value}, place))
    return found


def _not_followed(node: Node, path: str, resources: Mapping[str, Any]) -> list[str]:
    """Name what brings alarms from elsewhere: nested stacks, modules, macros."""
    found: dict[tuple[str, ...], str] = {
        ("Resources", name): f"{resource['Type']} {name}"
        for name, resource in resources.items()
        if isinstance(resource, Mapping) and _ELSEWHERE.search(str(resource.get("Type", "")))
    }
    given = node.plain.get("Transform", [])
    macros = [str(mapped(item).get("Name", item)) for item in (given if isinstance(given, list) else [given])]
    if others := [name for name in macros if name not in _KNOWN_TRANSFORMS]:
        found["Transform",] = f"the transform {', '.join(others)}"
    return [
        f"{path}:{node.line(place)}: {what} is not followed: {_DEPLOYED}" for place, what in found.items()
    ]


class _Template:
    def __init__(self, plain: Mapping[str, Any]) -> None:
        self._parts: dict[str, Mapping[str, Any]] = {}
        for key in ("Parameters", "Mappings", "Conditions", "Resources"):
            part = plain.get(key)
            self._parts[key] = part if isinstance(part, Mapping) else {}

        self._left = MAX_PARTS

    def begin(self) -> None:
        """Begin with another alarm."""
        self._left = MAX_PARTS

    def alarm_name(self, logical: str, depth: int = 0) -> str:
        """Return its AlarmName, or its logical id where CloudFormation makes a name up."""
        properties = self._parts["Resources"][logical].get("Properties") or {}
        given = properties.get("AlarmName") if isinstance(properties, Mapping) else None
        return str(self.value(given, depth)) if given is not None else logical

    def value(self, given: Any, depth: int = 0) -> Any:
        """Return a value with its references followed; `Unresolved` where only a deployment knows."""
        self._left -= 1
        if depth > MAX_DEPTH:
            return Unresolved("a reference that goes around in circles")
        if self._left < 0:
            return Unresolved(f"a value of more than {MAX_PARTS:,} parts")
        if isinstance(given, list):
            items = [self.value(item, depth + 1) for item in given]
            return [item for item in items if item is not _NOTHING]
        if not isinstance(given, Mapping):
            return given
        if len(given) == 1:
            [(name, argument)] = given.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name, argument, depth + 1)
        values = {name: self.value(item, depth + 1) for name, item in given.items()}
        return {name: item for name, item in values.items() if item is not _NOTHING}

    def holds(self, name: Any, depth: int = 0) -> bool | None:  # noqa: PLR0911 - each function has its own
        """Return whether a condition holds; None where only a deployment knows."""
        condition = self._parts["Conditions"].get(name) if isinstance(name, str) else name
        self._left -= 1
        if not isinstance(condition, Mapping) or len(condition) != 1 or depth > MAX_DEPTH or self._left < 0:
            return None
        [(function, argument)] = condition.items()
        if function == "Condition":
            return self.holds(argument, depth + 1)
        if not isinstance(argument, list) or not argument:
            return None
        if function == "Fn::Equals" and len(argument) == 2:
            left, right = (self.value(item, depth + 1) for item in argument)
            if isinstance(left, Unresolved) or isinstance(right, Unresolved):
                return None
            return str(left) == str(right)
        parts = [self.holds(item, depth + 1) for item in argument]
        match function:
            case "Fn::Not":
                return None if parts[0] is None else not parts[0]
            case "Fn::And":
                return False if False in parts else None if None in parts else True
            case "Fn::Or":
                return True if True in parts else None if None in parts else False
        return None

    def _function(self, name: str, argument: Any, depth: int) -> Any:  # noqa: PLR0911 - as above
        match name, argument:
            case "Ref", str():
                return self._ref(argument, depth)
            case "Fn::GetAtt", [str() as logical, *rest]:
                return self._resource(logical, depth) or Unresolved(".".join(map(str, [logical, *rest])))
            case "Fn::GetAtt", str():
                return self._function(name, argument.split(".", 1), depth)
            case "Fn::Sub", str():
                return self._filled(argument, {}, depth)
            case "Fn::Sub", [str() as text, dict() as values]:
                return self._filled(text, values, depth)
            case "Fn::If", [condition, yes, no]:
                holds = self.holds(condition, depth)
                if holds is None:
                    return Unresolved(f"condition {condition}")
                return self.value(yes if holds else no, depth)
        return self._of_lists(name, self.value(argument, depth))

    def _of_lists(self, name: str, argument: Any) -> Any:
        match name, argument:
            case "Fn::Join", [str() as between, list() as parts]:
                joined = between.join(str(item) for item in parts)
                if len(joined) > MAX_CHARACTERS:
                    return Unresolved(f"a text of more than {MAX_CHARACTERS:,} characters")
                return joined
            case "Fn::Select", [at, list() as parts] if str(at).isdigit() and int(at) < len(parts):
                return parts[int(at)]
            case "Fn::Split", [str() as between, str() as text] if between:
                return text.split(between)
            case "Fn::FindInMap", [top, second, third]:
                found: Any = self._parts["Mappings"]
                for key in (top, second, third):
                    found = found.get(str(key)) if isinstance(found, Mapping) else None
                return Unresolved(f"{top}.{second}.{third}") if found is None else found
        return Unresolved(name)

    def _ref(self, name: str, depth: int) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        parameter = self._parts["Parameters"].get(name)
        if isinstance(parameter, Mapping):
            if str(parameter.get("Type", "")).startswith("AWS::SSM::Parameter::Value"):
                return Unresolved(name, "which a deployment reads from the Systems Manager")
            if "Default" not in parameter:
                return Unresolved(name)
            default = self.value(parameter["Default"], depth)
            if str(parameter.get("Type", "")).startswith(("CommaDelimitedList", "List<")):
                return [part.strip() for part in str(default).split(",")]
            return default
        return self._resource(name, depth) or Unresolved(name)

    def _resource(self, logical: str, depth: int) -> str | None:
        """Return how a resource of the template is called where others name it."""
        resource = self._parts["Resources"].get(logical)
        if not isinstance(resource, Mapping):
            return None
        kind = str(resource.get("Type"))
        if kind in (METRIC, COMPOSITE):
            return self.alarm_name(logical, depth + 1)
        return f"arn:aws:autoscaling:::{logical}" if _SCALING.match(kind) else logical

    def _filled(self, text: str, values: Mapping[str, Any], depth: int) -> Any:
        def fill(match: re.Match[str]) -> str:
            escaped, name = match[1], match[2].strip()
            if escaped:
                return f"${{{name}}}"
            if name in values:
                return str(self.value(values[name], depth))
            found = self._function("Fn::GetAtt", name, depth) if "." in name else self._ref(name, depth)
            return "" if found is _NOTHING else str(found)

        whole = _HOLE.fullmatch(text.strip())
        if whole and not whole[1] and whole[2] not in values:
            return self._ref(whole[2].strip(), depth) if "." not in whole[2] else fill(whole)
        filled, length = [], 0
        for match in _HOLE.finditer(text):
            filled.append(fill(match))
            length += len(filled[-1])
            if length > MAX_CHARACTERS:
                return Unresolved(f"a text of more than {MAX_CHARACTERS:,} characters")
        found = iter(filled)
        return _HOLE.sub(lambda _: next(found), text)
