"""Which series a PromQL expression reads (pure)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import promql_parser

from rushhour.alarms.routing import Matcher

_OPS: Final = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
NAME: Final = "__name__"


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
    """Return those of an expression, each once. Raises ValueError where it is no PromQL."""
    try:
        tree = promql_parser.parse(expression)
    except ValueError as error:
        raise ValueError(f"{expression!r} is not PromQL: {error}") from None
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
    """Raise ValueError for a regular expression that cannot be read, where the operator takes any."""
    if "~" in op:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"the regular expression {text!r} cannot be read: {error}") from None
