"""CloudWatch's metric maths of plain arithmetic: a small parser, nothing is ever executed (pure).

Numbers, ids, + - * / ^, parentheses, comparisons, AND and OR, IF(), FILL() with a number, ABS(), CEIL() and
FLOOR(). Everything else of CloudWatch's metric maths is refused by its name.
Source: AWS, "Using math expressions with CloudWatch metrics".
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Value = float | None  # None: no data point
Lookup = Callable[[str], Value]
_Step = tuple[Callable[[float, float], Value], Callable[[Lookup], Value]]

MAX_DEPTH: Final = 50
MAX_CHARACTERS: Final = 2048  # as CloudWatch
MAX_EXPRESSIONS: Final = 100  # it takes some 20
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-z]\w*)"
    r"|(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/^()<>,]))"
)
_CALLED: Final = re.compile(r"(?<![A-Za-z_])(?!(?:AND|OR)\b)([A-Z][A-Z_]*)\s*\(")
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_OF_ONE: Final[dict[str, Callable[[float], float]]] = {
    "ABS": abs,
    "CEIL": lambda x: float(math.ceil(x)) if math.isfinite(x) else x,
    "FLOOR": lambda x: float(math.floor(x)) if math.isfinite(x) else x,
}


class MathsError(Exception):
    """The expression cannot be replayed; the text says which part."""


@dataclass(frozen=True, slots=True)
class Maths:
    """A parsed expression; `names` are the ids that it reads."""

    text: str
    names: frozenset[str]
    _value: Callable[[Lookup], Value]

    def value(self, lookup: Lookup) -> Value:
        """Evaluate the expression, with a value for each id; None if there is no data point."""
        found = self._value(lookup)
        return found if found is None or math.isfinite(found) else None


def parsed(text: str) -> Maths:
    """Raises MathsError."""
    parser = _Parser(text)
    value = parser.whole()
    return Maths(text, frozenset(parser.names), value)


def checked(expression: str, others: Mapping[str, str], metrics: frozenset[str]) -> dict[str, Maths]:
    """Return `expression` (its id is "") and all that it reads. Raises MathsError for an unknown id."""
    if len(others) > MAX_EXPRESSIONS:
        raise MathsError(f"reads {len(others):,} expressions; {MAX_EXPRESSIONS} are the most")
    found: dict[str, Maths] = {}
    _follow("", {**others, "": expression}, metrics, found, ())
    return found


def _follow(
    name: str,
    texts: Mapping[str, str],
    metrics: frozenset[str],
    found: dict[str, Maths],
    above: tuple[str, ...],
) -> None:
    if name in above:
        raise MathsError(f"expression {name} reads itself")
    if name in found:
        return
    maths = parsed(texts[name])
    for each in sorted(maths.names):
        if each in texts:
            _follow(each, texts, metrics, found, (*above, name))
        elif each not in metrics:
            raise MathsError(f"{texts[name]!r} reads {each}, and no metric or expression has that id")
    found[name] = maths


class _Parser:
    """Recursive descent: OR, AND, comparisons, sums, products, powers, signs."""

    def __init__(self, text: str) -> None:
        self._text, self._tokens, at = text, [], 0
        self.names: set[str] = set()
        self._depth = 0
        if len(text) > MAX_CHARACTERS:
            raise MathsError(f"has {len(text):,} characters; {MAX_CHARACTERS:,} are the most")
        for name in _CALLED.findall(text):
            _check_function(name)
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise MathsError(f"{text!r} holds {text[at:].strip()[:20]!r}, which is not plain arithmetic")
            self._tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            at = match.end()
        self._at = 0

    def whole(self) -> Callable[[Lookup], Value]:
        value = self._or()
        if self._at < len(self._tokens):
            raise MathsError(f"{self._text!r} cannot be read at {self._tokens[self._at][1]!r}")
        return value

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _takes(self, *signs: str) -> str:
        text = self._next()[1]
        if text and text.upper() in signs:
            self._at += 1
            return text.upper()
        return ""

    def _needs(self, sign: str) -> None:
        if not self._takes(sign):
            raise MathsError(f"{self._text!r} cannot be read: {sign!r} is missing")

    def _or(self) -> Callable[[Lookup], Value]:
        first, rest = self._and(), list[_Step]()
        while self._takes("OR", "||"):
            rest.append((lambda a, b: float(bool(a) or bool(b)), self._and()))
        return _chain(first, rest)

    def _and(self) -> Callable[[Lookup], Value]:
        first, rest = self._comparison(), list[_Step]()
        while self._takes("AND", "&&"):
            rest.append((lambda a, b: float(bool(a) and bool(b)), self._comparison()))
        return _chain(first, rest)

    def _comparison(self) -> Callable[[Lookup], Value]:
        first, rest = self._sum(), list[_Step]()
        while sign := self._takes(*_COMPARE):
            rest.append((_compared(_COMPARE[sign]), self._sum()))
        return _chain(first, rest)

    def _sum(self) -> Callable[[Lookup], Value]:
        first, rest = self._product(), list[_Step]()
        while sign := self._takes("+", "-"):
            rest.append((operator.add if sign == "+" else operator.sub, self._product()))
        return _chain(first, rest)

    def _product(self) -> Callable[[Lookup], Value]:
        first, rest = self._power(), list[_Step]()
        while sign := self._takes("*", "/"):
            rest.append((operator.mul if sign == "*" else _divided, self._power()))
        return _chain(first, rest)

    def _power(self) -> Callable[[Lookup], Value]:
        parts = [self._signed()]
        while self._takes("^"):
            parts.append(self._signed())
        base = parts.pop()
        for part in reversed(parts):  # 2^3^2 is 2^(3^2)
            base = _two(_power, part, base)
        if len(parts) > MAX_DEPTH:
            raise MathsError(f"{self._text[:40]!r}... is nested too deeply")
        return base

    def _signed(self) -> Callable[[Lookup], Value]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise MathsError(f"{self._text[:40]!r}... is nested too deeply")
        try:
            if self._takes("-"):
                return _one(operator.neg, self._signed())
            return self._atom()
        finally:
            self._depth -= 1

    def _atom(self) -> Callable[[Lookup], Value]:
        if self._takes("("):
            value = self._or()
            self._needs(")")
            return value
        kind, text = self._next()
        self._at += 1
        if kind == "number":
            number = float(text)
            return lambda _: number
        if kind == "name" and self._next()[1] == "(":
            return self._function(text)
        if kind == "name" and text[0].islower():
            self.names.add(text)
            return lambda lookup: lookup(text)
        if text in ("REPEAT", "LINEAR"):
            raise MathsError(f"FILL() with {text} is not replayed; FILL() with a number or an id is")
        raise MathsError(f"{self._text!r} cannot be read at {text or 'its end'!r}")

    def _function(self, name: str) -> Callable[[Lookup], Value]:
        _check_function(name)
        self._needs("(")
        given = [self._or()]
        while self._takes(","):
            given.append(self._or())
        self._needs(")")
        wanted = {"IF": 3, "FILL": 2}.get(name.upper(), 1)
        if len(given) != wanted:
            raise MathsError(f"{name}() has {len(given)} arguments; {wanted} are replayed")
        match name.upper():
            case "IF":
                return lambda lookup: _if(given, lookup)
            case "FILL":
                return lambda lookup: given[1](lookup) if (x := given[0](lookup)) is None else x
        return _one(_OF_ONE[name.upper()], given[0])


def _check_function(name: str) -> None:
    known = ("IF", "FILL", *_OF_ONE)
    if name.upper() not in known:
        raise MathsError(f"{name}() is not among what is replayed: + - * / ^, {', '.join(known)}")


def _one(what: Callable[[float], float], of: Callable[[Lookup], Value]) -> Callable[[Lookup], Value]:
    def value(lookup: Lookup) -> Value:
        x = of(lookup)
        return None if x is None else what(x)

    return value


def _chain(first: Callable[[Lookup], Value], rest: list[_Step]) -> Callable[[Lookup], Value]:
    """Apply each step to what came of those before it: a loop, since chains are longer than calls nest."""
    if not rest:
        return first

    def value(lookup: Lookup) -> Value:
        found = first(lookup)
        for what, part in rest:
            other = part(lookup)
            found = None if found is None or other is None else what(found, other)
        return found

    return value


def _compared(compare: Callable[[float, float], bool]) -> Callable[[float, float], Value]:
    return lambda a, b: float(compare(a, b))


def _two(
    what: Callable[[float, float], Value], left: Callable[[Lookup], Value], right: Callable[[Lookup], Value]
) -> Callable[[Lookup], Value]:
    """Return a data point only where both sides have one."""

    def value(lookup: Lookup) -> Value:
        a, b = left(lookup), right(lookup)
        return None if a is None or b is None else what(a, b)

    return value


def _divided(a: float, b: float) -> Value:
    return a / b if b else None


def _power(a: float, b: float) -> Value:
    try:
        found = a**b
    except (OverflowError, ZeroDivisionError):
        return None
    return found if isinstance(found, float) else None  # a root of a negative number is complex


def _if(given: list[Callable[[Lookup], Value]], lookup: Lookup) -> Value:
    condition = given[0](lookup)
    if condition is None:
        return None
    return given[1](lookup) if condition else given[2](lookup)
