"""A file as documents of plain data with the line of each key: YAML, with CloudFormation's tags, or JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode
from ruamel.yaml.reader import ReaderError

from rushhour.errors import UsageError
from rushhour.process.regular import read_at_most
from rushhour.scenario.yaml_node import KeyPath, Node, kept_by_text, not_utf_8, yaml_errors

MAX_BYTES: Final = 20_000_000
MAX_YAML: Final = 2_000_000  # characters: YAML is read some hundred times slower than JSON
MAX_DEPTH: Final = 100  # what reads a document follows it call by call
MAX_NODES: Final = 1_000_000  # aliases of aliases make a small file a large one
_MERGE: Final = "tag:yaml.org,2002:merge"
# What YAML 1.1 calls true and false, as the programs read it whose files these are; YAML 1.2 has two words.
_FLAGS: Final = {
    "y": True,
    "yes": True,
    "on": True,
    "true": True,
    "n": False,
    "no": False,
    "off": False,
    "false": False,
}


def read_text(path: Path) -> str:
    """Return a file's text. Raises UsageError where it cannot be read as text."""
    try:
        return read_at_most(path, MAX_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError([f"{path}: no such file"]) from None
    except UnicodeDecodeError as error:
        raise UsageError([f"{path}:{not_utf_8(error)}"]) from None
    except OSError as error:
        raise UsageError([f"{path}: cannot be read: {error}"]) from None


def listed(given: Any) -> list[Any]:
    """Return a list as it is; anything else holds nothing."""
    return given if isinstance(given, list) else []


def mapped(given: Any) -> Mapping[str, Any]:
    """Return a mapping as it is; anything else holds nothing."""
    return given if isinstance(given, Mapping) else {}


def flag(given: Any) -> Any:
    """Return True or False for what YAML 1.1 calls so (`yes`, `Off`); anything else as it is."""
    return _FLAGS.get(given.lower(), given) if isinstance(given, str) else given


def spelled(node: Node, path: Sequence[str | int], value: Any) -> str:
    """Return a value where a text is wanted (a label's) as the file spells it: `true`, not `True`."""
    if (text := node.texts.get(tuple(path))) is not None:
        return text
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def documents(path: Path, text: str) -> list[Node]:
    """Return the documents of a file, empty ones left out. Raises UsageError with file:line."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return [Node(loaded_json(text), _JsonLines(text))]
        except json.JSONDecodeError as error:
            wrong = f"{path}:{error.lineno}: not JSON: {error.msg}"
        except RecursionError:
            raise UsageError([f"{path}:1: its lists and objects are nested too deeply"]) from None
        except ValueError as error:  # a number of more digits than Python reads
            wrong = f"{path}:1: not JSON: {error}"
        if path.suffix == ".json":
            raise UsageError([wrong])
    return _yaml(path, text)


def loaded_json(text: str) -> Any:
    """Load a JSON text. Raises ValueError, and RecursionError for one nested deeper than MAX_DEPTH."""
    plain = json.loads(text)
    waiting = [(plain, 1)]
    while waiting:
        part, depth = waiting.pop()
        inside = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        if inside and depth > MAX_DEPTH:
            raise RecursionError
        waiting += [(item, depth + 1) for item in inside if isinstance(item, dict | list)]
    return plain


class _JsonLines(dict[KeyPath, int]):
    """The lines of a JSON text; they are found when the first is asked for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text: str | None = text

    def __contains__(self, key: object) -> bool:
        self._fill()
        return super().__contains__(key)

    def __getitem__(self, key: KeyPath) -> int:
        self._fill()
        return super().__getitem__(key)

    def items(self) -> Any:
        self._fill()
        return super().items()

    def _fill(self) -> None:
        if self._text is None:
            return
        text, self._text = self._text.replace("\t", " "), None
        if len(text) > MAX_YAML:
            self.setdefault((), 1)
            return
        try:
            for node in YAML(typ="safe", pure=True).compose_all(text):
                _Reader().plain(node, (), self)
        except (MarkedYAMLError, ReaderError, RecursionError, UsageError):
            self.setdefault((), 1)  # JSON that YAML cannot read: no lines but the first


def _yaml(path: Path, text: str) -> list[Node]:
    if len(text) > MAX_YAML:
        raise UsageError([f"{path}: {len(text):,} characters of YAML; {MAX_YAML:,} are the most"])
    with yaml_errors(path, text):
        nodes, problems = _nodes(text)
        if problems:
            raise UsageError([f"{path}:{problem}" for problem in problems])
        return [node.copy() for node in nodes]


@kept_by_text
def _nodes(text: str) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """Return the documents of a text, or the problems of the first that has any ("12: ...")."""
    found: list[Node] = []
    for node in YAML(typ="safe", pure=True).compose_all(text):
        lines: dict[KeyPath, int] = {}
        reader = _Reader()
        try:
            plain = reader.plain(node, (), lines)
        except UsageError as error:  # too many values to go on
            return (), tuple(error.problems)
        if reader.problems:
            return (), tuple(reader.problems)
        if plain is not None:
            found.append(Node(plain, lines, reader.texts))
    return tuple(found), ()


class _Reader:
    """YAML nodes as plain data; `!Sub x` becomes {"Fn::Sub": x}, as CloudFormation's long form."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.texts: dict[KeyPath, str] = {}
        self._scalars = YAML(typ="safe", pure=True).constructor
        self._count = 0
        self._above: list[YamlNode] = []

    def plain(self, node: YamlNode | None, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
        """Return plain data, and add to `lines`."""
        if node is None:
            return None
        self._count += 1
        if len(path) > MAX_DEPTH:
            raise RecursionError
        if self._count > MAX_NODES:
            raise UsageError([f"{node.start_mark.line + 1}: more than {MAX_NODES:,} values"])
        lines.setdefault(path, node.start_mark.line + 1)
        if any(node is item for item in self._above):
            self.problems.append(f"{node.start_mark.line + 1}: holds itself")
            return None
        self._above.append(node)
        try:
            value = self._value(node, path, lines)
        finally:
            self._above.pop()
        return _long_form(str(node.tag), value) if str(node.tag).startswith("!") else value

    def _value(self, node: YamlNode, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
        if isinstance(node, MappingNode):
            mapping: dict[str, Any] = {}
            for key, child in self._pairs(node, 0):
                name = str(key.value)
                if isinstance(key, ScalarNode) and name not in mapping:
                    lines[*path, name] = key.start_mark.line + 1
                    mapping[name] = self.plain(child, (*path, name), lines)
            return mapping
        if isinstance(node, SequenceNode):
            return [self.plain(child, (*path, at), lines) for at, child in enumerate(node.value)]
        if str(node.tag).startswith("!"):
            return str(node.value)
        try:
            value = self._scalars.construct_object(node)
        except Exception as error:  # noqa: BLE001 - ruamel passes on what int() and date() raise
            self.problems.append(f"{node.start_mark.line + 1}: {node.value!r} cannot be read: {error}")
            return None
        if isinstance(value, bool | int | float):
            self.texts[path] = str(node.value)
        return value if isinstance(value, str | bool | int | float) or value is None else str(node.value)

    def _pairs(self, node: MappingNode, depth: int) -> Iterator[tuple[YamlNode, YamlNode]]:
        """Yield keys and values: its own, then those that `<<` merges in; the first of a key counts."""
        if depth > 10:
            return
        seen: set[str] = set()
        merges: list[YamlNode] = []
        for key, child in node.value:
            if str(key.tag) == _MERGE:
                merges += child.value if isinstance(child, SequenceNode) else [child]
                continue
            if not isinstance(key, ScalarNode):
                self.problems.append(f"{key.start_mark.line + 1}: a key must be a word or a number")
            elif str(key.value) in seen:
                self.problems.append(f"{key.start_mark.line + 1}: key {key.value!r} stands there twice")
            seen.add(str(key.value))
            yield key, child
        for part in merges:
            if isinstance(part, MappingNode):
                yield from self._pairs(part, depth + 1)


def _long_form(tag: str, value: Any) -> dict[str, Any]:
    name = tag.removeprefix("!")
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}
