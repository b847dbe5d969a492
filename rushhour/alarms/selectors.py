"""Which series a PromQL expression reads (pure)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import promql_parser

from rushhour.alarms.routing import Matcher

_OPS: Final = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
NAME: Final = "__name__"
_SHOWN: Final = 300  # characters of an expression in an error
# The parser is native and recursive: deep nesting ends the process, and long chains take quadratic time.
MOST_CHARACTERS: Final = 100_000
MOST_OPERATORS: Final = 1000
MOST_NESTED: Final = 200
MOST_DIGITS: Final = 12  # of a duration: it panics beyond what 64 bits hold
_TEXT: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`|#[^\n]*", re.DOTALL)
_LOGQL: Final = re.compile(r"\}\s*(\|[=~]|!=|!~|\|\s*(json|logfmt|unwrap|line_format|pattern)\b)")
_POSIX_CLASS: Final = re.compile(r"\[:\^?[a-z]+:\]")  # Python reads it as a set of letters
_LABELS: Final = re.compile(r"\{[^{}]*\}")
_OPERATOR: Final = re.compile(r"[-+*/%^<>=!@,]|\b(?:and|or|unless|atan2|offset)\b", re.IGNORECASE)
_LONG_DURATION: Final = re.compile(
    rf"(?:\[|:|\boffset\b)[\s-]*(?:[0-9.]*[0-9]e[+]?[0-9]{{2,}}|[0-9]{{{MOST_DIGITS},}}|0x[0-9a-f]{{10,}}|inf|nan)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric's name and its matchers; the name is empty where the selector gives none exactly."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        inner = ",".join(f'{item.name}{item.op}"{item.value}"' for item in self.matchers)
        return f"{self.name}{{{inner}}}" if inner else self.name

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(item.matches(labels) for item in self.matchers)


def selectors(expression: str) -> tuple[Selector, ...]:
    """Return those of an expression, each once. Raises ValueError where it is no PromQL, or too large."""
    if why := _too_much(expression):
        raise ValueError(f"{_shown(expression)} {why}")
    try:
        tree = promql_parser.parse(expression)
    except ValueError as error:
        logs = "; it looks like LogQL of Loki, which is not read" if _LOGQL.search(expression) else ""
        raise ValueError(f"{_shown(expression)} is not PromQL: {error}{logs}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of the native parser; it derives from no Exception
            raise
        raise ValueError(f"{_shown(expression)} cannot be read as PromQL: {error}") from None
    found: list[Selector] = []
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, promql_parser.VectorSelector):
            found.append(_selector(node))
            continue
        for key in ("expr", "lhs", "rhs", "vector_selector", "args", "param"):
            child = getattr(node, key, None)
            below = child if isinstance(child, list) else [child]
            waiting += [
                item for item in below if item is not None and not isinstance(item, str | int | float)
            ]
    return tuple(dict.fromkeys(found))


def aggregated_by(expression: str) -> frozenset[str] | None:
    """Return the labels that an aggregation leaves; None where it is no aggregation, or not by labels."""
    if _too_much(expression):
        return None
    try:
        tree = promql_parser.parse(expression)
    except ValueError:
        return None
    while isinstance(tree, promql_parser.ParenExpr):
        tree = tree.expr
    if not isinstance(tree, promql_parser.AggregateExpr):
        return None
    if tree.modifier is None:
        return frozenset()
    by = str(tree.modifier.type).rpartition(".")[2] == "By"
    return frozenset(map(str, tree.modifier.labels)) if by else None


def _too_much(expression: str) -> str:
    """Say why an expression is not given to the parser; empty if it is."""
    if len(expression) > MOST_CHARACTERS:
        return f"has {len(expression):,} characters; {MOST_CHARACTERS:,} are the most"
    bare = _LABELS.sub("{}", _TEXT.sub('""', expression))
    if (operators := len(_OPERATOR.findall(bare))) > MOST_OPERATORS:
        return f"has {operators:,} operators; {MOST_OPERATORS:,} are the most: record parts of it by rules"
    depth = deepest = 0
    for character in bare:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > MOST_NESTED:
        return f"is nested {deepest:,} deep; {MOST_NESTED} is the most"
    if found := _LONG_DURATION.search(bare):
        return f"is not PromQL: no duration is as long as {found.group().lstrip('[: ')[:40]}"
    return ""


def _shown(expression: str) -> str:
    return repr(expression if len(expression) <= _SHOWN else f"{expression[:_SHOWN]}...")


def _selector(node: Any) -> Selector:
    name, matchers = node.name or "", []
    for item in node.matchers.matchers:
        op = _OPS[str(item.op).rpartition(".")[2]]
        if item.name == NAME and op == "=":
            name = item.value
        else:
            check_regex(item.value, op)
            matchers.append(Matcher(item.name, op, item.value))  # type: ignore[arg-type]  # of the four
    if node.matchers.or_matchers:
        return Selector("", (*matchers, Matcher("or", "=", "...")))
    return Selector(name, tuple(matchers))


def check_regex(text: str, op: str) -> None:
    """Raise ValueError for a regular expression that cannot be matched here, where the operator takes any."""
    if "~" not in op:
        return
    if _POSIX_CLASS.search(text):
        raise ValueError(f"the regular expression {text!r} cannot be read: it has a class as [:alpha:]")
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"the regular expression {text!r} cannot be read: {error}") from None


def check_matcher(text: str, op: str) -> None:
    """Raise ValueError as `check_regex` does, and for what Go does not know: lookaheads, references back."""
    check_regex(text, op)
    if "~" in op and not _is_promql(f"up{{a=~{json.dumps(text)}}}"):
        raise ValueError(f"the regular expression {text!r} is none that Alertmanager reads (RE2)")


def _is_promql(expression: str) -> bool:
    try:
        selectors(expression)
    except ValueError:
        return False
    return True
