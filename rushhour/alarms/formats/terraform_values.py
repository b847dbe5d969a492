"""The values of a folder's Terraform files: variables, locals, references and plain arithmetic (pure).

Functions, conditions and what only a plan knows (modules, data sources, resources) stay unresolved, with the
reason.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rushhour.alarms.formats.raw_alarms import Unresolved
from rushhour.alarms.formats.terraform_syntax import Content, is_comment, labelled, named
from rushhour.alarms.maths import MathsError
from rushhour.alarms.maths import parsed as parsed_maths

METRIC, COMPOSITE = "aws_cloudwatch_metric_alarm", "aws_cloudwatch_composite_alarm"
MAX_DEPTH: Final = 20
MAX_PARTS: Final = 20_000  # values that one value is made of: references to references multiply
MAX_CHARACTERS: Final = 100_000
HINT: Final = "`terraform show -json PLAN` holds it"
_HOLE: Final = re.compile(r"\$\{([^{}]*)\}")
_REFERENCE: Final = re.compile(r"(?<![\w.])[A-Za-z_][\w-]*(?:\.[\w-]+|\[[^\]]*\])*")
_STEP: Final = re.compile(r"\.?([A-Za-z_][\w-]*)|\.(\d+)|\[\s*(\d+)\s*\]|\[\s*\"([^\"]*)\"\s*\]")
_FUNCTION: Final = re.compile(r"([A-Za-z_]\w*)\s*\(")
_ESCAPED, _DOLLAR = "$${", "\0{"  # a literal `${`
_CONSTANTS: Final[Mapping[str, Any]] = {"true": True, "false": False, "null": None}
_OF_PLAN: Final = f"which only a plan knows: {HINT}"
_LONG: Final = 60


class Module:
    """What the files of a folder say of variables, locals and resources.

    Later `contents` override earlier ones, and so do later `set_variables`, the files of variables.
    """

    def __init__(self, contents: Iterable[Content], set_variables: Iterable[Content]) -> None:
        self._left = MAX_PARTS
        self._variables: dict[str, Any] = {}
        self._locals: dict[str, Any] = {}
        self._resources: dict[tuple[str, str], Mapping[str, Any]] = {}
        for content in contents:
            for name, body in named(content, "variable"):
                if "default" in body or name not in self._variables:
                    self._variables[name] = body.get(
                        "default", Unresolved(f"var.{name}", _without_value(name))
                    )
            for block in content.get("locals") or []:
                if isinstance(block, Mapping):
                    self._locals |= {key: item for key, item in block.items() if not is_comment(key)}
            for kind, name, body in labelled(content, "resource"):
                self._resources[kind, name] = {**self._resources.get((kind, name), {}), **body}
        for values in set_variables:
            self._variables |= {key: item for key, item in values.items() if key in self._variables}

    def alarm_name(self, kind: str, name: str, depth: int = 0) -> str:
        """Return an alarm's name; what cannot be resolved in it stays as it is written."""
        given = self._resources[kind, name].get("alarm_name")
        return name if given is None else str(self.text(given, depth))

    def text(self, given: Any, depth: int = 0) -> Any:
        """Return a value of which unresolved parts stay as they are written, as is enough for a name."""
        found = self.value(given, depth)
        if not isinstance(found, Unresolved) or not found.template:
            return found
        text = _heredoc(given)
        return _HOLE.sub(lambda match: _written(self._expression(match[1].strip(), depth)), text)

    def value(self, given: Any, depth: int = 0) -> Any:
        """Return a value with its references followed; `Unresolved` where that is impossible."""
        self._left = MAX_PARTS if depth == 0 else self._left - 1
        if depth > MAX_DEPTH:
            return Unresolved("a reference", "which goes around in circles")
        if self._left < 0:
            return Unresolved("a value", f"which has more than {MAX_PARTS:,} parts")
        if isinstance(given, list):
            return [self.value(item, depth + 1) for item in given]
        if isinstance(given, Mapping):
            return {
                key.strip('"'): self.value(item, depth + 1)
                for key, item in given.items()
                if not is_comment(key)
            }
        return self._template(_heredoc(given), depth) if isinstance(given, str) else given

    def _template(self, given: str, depth: int) -> Any:
        text = given.replace(_ESCAPED, _DOLLAR)
        if whole := _HOLE.fullmatch(text):
            return self._expression(whole[1].strip(), depth)
        if "${" in _HOLE.sub("", text) or "%{" in text:  # expressions within expressions, directives
            return _unevaluated(text.removeprefix("${").removesuffix("}"))
        parts = {match[0]: self._expression(match[1].strip(), depth) for match in _HOLE.finditer(text)}
        for part in parts.values():
            if isinstance(part, Unresolved):
                return Unresolved(text, f"because of {part}, {part.why}", template=True)
        written = {hole: _written(part) for hole, part in parts.items()}
        if sum(len(written[match[0]]) for match in _HOLE.finditer(text)) > MAX_CHARACTERS:
            return Unresolved("a text", f"which has more than {MAX_CHARACTERS:,} characters")
        filled = _HOLE.sub(lambda match: written[match[0]], text)
        return filled.replace(_DOLLAR, "${")

    def _expression(self, text: str, depth: int) -> Any:
        if _REFERENCE.fullmatch(text):
            return self._reference(text, depth)
        found = {match: self._reference(match, depth) for match in _REFERENCE.findall(text)}
        try:
            maths = parsed_maths(_REFERENCE.sub(lambda match: _number(found[match[0]]), text))
        except MathsError:
            return _unevaluated(text, found)
        value = maths.value(lambda _: None)
        return _unevaluated(text, found) if value is None else value

    def _reference(self, text: str, depth: int) -> Any:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        steps = [next(filter(None, match), "") for match in _STEP.findall(text)]
        known = {"var": self._variables, "local": self._locals}.get(steps[0])
        if known is not None:
            if len(steps) < 2 or steps[1] not in known:
                return Unresolved(text, f"which no file here declares: {HINT}")
            found = self.value(known[steps[1]], depth + 1)
            for step in steps[2:]:
                found = _part(found, step, text)
            return found
        if len(steps) == 3 and (steps[0], steps[1]) in self._resources:
            if steps[0] in (METRIC, COMPOSITE) and steps[2] in ("alarm_name", "id", "arn"):
                return self.alarm_name(steps[0], steps[1], depth + 1)
            if steps[2] in ("arn", "id", "name"):
                return f"{steps[0]}.{steps[1]}"
        return Unresolved(text, _OF_PLAN)


def _part(found: Any, step: str, text: str) -> Any:
    if isinstance(found, Unresolved):
        return found
    if isinstance(found, Mapping) and step in found:
        return found[step]
    if isinstance(found, list) and step.isdigit() and int(step) < len(found):
        return found[int(step)]
    return Unresolved(text, "of which no file here has this part")


def _without_value(name: str) -> str:
    return f"a variable without a value: set {name} in terraform.tfvars, or read a plan: {HINT}"


def _unevaluated(text: str, references: Mapping[str, Any] | None = None) -> Unresolved:
    """Say why an expression has no value: a function, a missing reference, or anything else in it."""
    short = text if len(text) < _LONG else f"{text[: _LONG - 3]}..."
    functions = [name for name in _FUNCTION.findall(text) if name not in ("in", "if")]
    if functions:
        return Unresolved(short, f"whose function {functions[0]}() is not evaluated here: {HINT}")
    if "?" in text:
        return Unresolved(short, f"whose condition is not evaluated here: {HINT}")
    missing = [found for found in (references or {}).values() if isinstance(found, Unresolved)]
    if missing and '"' not in text:
        return Unresolved(short, f"because of {missing[0]}, {missing[0].why}")
    return Unresolved(short, f"which is not evaluated here: {HINT}")


def _number(found: Any) -> str:
    return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else "?"


def _written(found: Any) -> str:
    """Return a value as a template has it: numbers without a needless fraction."""
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, float) and found.is_integer():
        return str(int(found))
    return str(found)


def _heredoc(text: str) -> str:
    """Return the lines of `<<EOT` or `<<-EOT`, which the parser keeps as they stand."""
    match = re.fullmatch(r'"?<<-?\s*(\w+)\n(.*?)\n?\s*\1\s*"?', text, re.DOTALL)
    return match[2] if match else text
