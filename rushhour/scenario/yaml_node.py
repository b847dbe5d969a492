"""Reads a YAML file as plain data, with the line number of each key and item."""

import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Final, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import Node as YamlNode
from ruamel.yaml.reader import ReaderError

from rushhour.errors import UsageError
from rushhour.process.regular import read_at_most

MOST_BYTES: Final = 1_000_000  # a larger file takes longer to read than anybody waits
MOST_VALUES: Final = 100_000
# Texts that are kept as they were read: a command reads some files more than once, and parsing takes long.
KEPT_TEXTS: Final = 8
MOST_KEPT: Final = 100_000  # characters of one

Read = TypeVar("Read")
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a YAML file as plain data, with the line number of each key and item by its path.

    `texts` are the spellings of values that are no texts (1e3, True), where the reader keeps them.
    """

    plain: Any
    lines: Mapping[KeyPath, int]
    texts: Mapping[KeyPath, str] = field(default_factory=dict)
    _children: dict[str, "Node"] = field(default_factory=dict, init=False, compare=False, repr=False)

    def copy(self) -> "Node":
        """Return a node whose data may be changed."""
        return Node(deepcopy(self.plain), self.lines, self.texts)

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line of the longest prefix of the path that exists in the file."""
        for length in range(len(path), -1, -1):
            if tuple(path[:length]) in self.lines:
                return self.lines[tuple(path[:length])]
        return 1

    def child(self, key: str) -> "Node":
        if key not in self._children:  # all at once: a file may have many
            lines: dict[str | int, dict[KeyPath, int]] = {}
            for path, line in self.lines.items():
                if path:
                    lines.setdefault(path[0], {})[path[1:]] = line
            self._children.update(
                {name: Node(part, lines.get(name, {})) for name, part in self.plain.items()}
            )
        return self._children[key]

    def over(self, base: "Node") -> "Node":
        """Merge this node over `base`: mappings merge, any other value replaces."""
        if not (isinstance(self.plain, dict) and isinstance(base.plain, dict)):
            return self
        plain: dict[str, Any] = dict(base.plain)
        lines = dict(base.lines) | {(): self.lines.get((), 1)}
        for key in self.plain:
            mine = self.child(key)
            merged = mine.over(base.child(key)) if key in base.plain else mine
            plain[key] = merged.plain
            lines = {path: line for path, line in lines.items() if path[:1] != (key,)}
            lines |= {(key, *path): line for path, line in merged.lines.items()}
        return Node(plain, lines)


def kept_by_text(read: Callable[..., Read]) -> Callable[..., Read]:
    """Keep what `read` made of the last texts, unless they are long."""
    kept = lru_cache(KEPT_TEXTS)(read)

    @wraps(read)
    def read_or_kept(text: str, *more: Hashable) -> Read:
        return read(text, *more) if len(text) > MOST_KEPT else kept(text, *more)

    return read_or_kept


def read_yaml(path: Path, tags: frozenset[str] = frozenset()) -> Node:
    """Read a mapping from a YAML file, which may use these `tags` of its own, to no effect here.

    Raises UsageError with file and line if that fails.
    """
    try:
        text = read_at_most(path, MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError([f"{path}: no such file; run rushhour where scenarios.yaml is"]) from None
    except UnicodeDecodeError as error:
        raise UsageError([f"{path}:{not_utf_8(error)}"]) from None
    except OSError as error:
        raise UsageError([f"{path}: cannot be read: {error}"]) from None
    with yaml_errors(path, text):
        try:
            return _mapping(text, tags).copy()
        except _WrongError as error:
            raise UsageError([f"{path}:{problem}" for problem in error.args]) from None


def not_utf_8(error: UnicodeDecodeError) -> str:
    """Return in which line a file is no UTF-8, and what is wrong with it ("12: ...")."""
    line = error.object.count(b"\n", 0, error.start) + 1
    return f"{line}: cannot be read: byte 0x{error.object[error.start]:02x} is no UTF-8 ({error.reason})"


@kept_by_text
def _mapping(text: str, tags: frozenset[str]) -> Node:
    """Return the mapping of a text. Raises _WrongError with problems ("12: ...")."""
    loaded = YAML(typ="rt").load(text)
    if not isinstance(loaded, CommentedMap):
        raise _WrongError(f"1: {_kind(loaded)}; it must be a mapping")
    lines: dict[KeyPath, int] = {(): 1}
    found: list[str] = []
    plain = _plain(loaded, (), lines, found, tags)
    if found:
        raise _WrongError(*found)
    return Node(plain, lines)


@contextmanager
def yaml_errors(path: Path, text: str) -> Iterator[None]:
    """Raise a UsageError with file and line for whatever ruamel.yaml raises within about this text."""
    try:
        yield
    except UsageError:
        raise
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError([f"{path}:{line}: not YAML: {error.problem}"]) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError([f"{path}:{line}: not YAML: {error.reason} (#x{error.character:04x})"]) from None
    except RecursionError:
        raise UsageError(
            [f"{path}:1: cannot be read: its lists and mappings are nested too deeply"]
        ) from None
    except Exception as error:  # noqa: BLE001 - ruamel's constructors pass on what int(), date() and dicts raise
        line, kind = _node_of(error)
        why = "" if isinstance(error, KeyError) else f": {error}"
        raise UsageError([f"{path}:{line}: cannot be read as {kind}{why}"]) from None


class _WrongError(Exception):
    """What is wrong with a text, each with its line in front: "12: ..."."""


def _kind(loaded: object) -> str:
    """Say what a file holds that is no mapping."""
    if loaded is None:
        return "is empty"
    return "holds a list" if isinstance(loaded, CommentedSeq) else "holds a single value"


def _node_of(error: Exception) -> tuple[int, str]:
    """Return the line and the type of the YAML node that ruamel was constructing when it failed.

    Without a node: 1, and YAML. The value is not shown, since it may be a secret.
    """
    line, kind = 1, "YAML"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        node = frame.f_locals.get("node")
        if isinstance(node, YamlNode) and node.start_mark is not None:
            line, kind = node.start_mark.line + 1, f"!!{str(node.tag).rpartition(':')[2]}"
    return line, kind


def _foreign_tag(value: Any) -> str | None:
    """Return a tag that YAML itself does not define: what it would make is not made."""
    tag = getattr(value, "tag", None)
    name = str(getattr(tag, "value", tag) or "")
    own = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:str")
    return name if name and name not in own else None


def _plain(
    value: Any, path: KeyPath, lines: dict[KeyPath, int], problems: list[str], tags: frozenset[str]
) -> Any:
    """Return plain data, and add to `lines` and `problems` ("12: ...").

    Raises _WrongError for more values than anybody writes: aliases of aliases make a small file a large one.
    """
    if len(lines) > MOST_VALUES:
        raise _WrongError(f"1: more than {MOST_VALUES:,} values, with those of its aliases")
    if (tag := _foreign_tag(value)) is not None and tag not in tags:
        where = ".".join(str(part) for part in path) or "the file"
        problems.append(
            f"{lines[path]}: {where}: {tag} is a tag, which nothing here has a meaning for; remove it"
        )
        return None
    if isinstance(value, CommentedMap):
        places = value.lc.data or {}
        for key in value:
            # A key merged in by `<<` is defined elsewhere; it gets the line of the mapping that merges it.
            lines[*path, str(key)] = places[key][0] + 1 if key in places else value.lc.line + 1
            if isinstance(key, (Mapping, tuple)):
                shape = "mapping" if isinstance(key, Mapping) else "list"
                where = ".".join(str(part) for part in path) or "the file"
                line = lines[*path, str(key)]
                problems.append(f"{line}: {where}: a {shape} is a key here; a key must be a word or a number")
        return {
            str(key): _plain(child, (*path, str(key)), lines, problems, tags) for key, child in value.items()
        }
    if isinstance(value, CommentedSeq):
        for index in range(len(value)):
            lines[*path, index] = value.lc.item(index)[0] + 1
        return [_plain(child, (*path, index), lines, problems, tags) for index, child in enumerate(value)]
    if isinstance(value, TaggedScalar | bool) or value is None:
        return getattr(value, "value", value)
    for kind in (int, float, str):  # ruamel's scalars are subclasses that remember their spelling
        if isinstance(value, kind):
            return kind(value)
    return str(value)  # dates and the like: rejected later by type validation, with their text
