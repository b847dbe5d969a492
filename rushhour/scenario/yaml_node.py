"""A YAML file as plain data that remembers the line of each key and item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rushhour.errors import UsageError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A part of the file as plain data, with the line of each key and item by its path."""

    plain: Any
    lines: Mapping[KeyPath, int]

    def line(self, path: Sequence[str | int]) -> int:
        """The line of the longest part of the path that stands in the file."""
        for length in range(len(path), -1, -1):
            if tuple(path[:length]) in self.lines:
                return self.lines[tuple(path[:length])]
        return 1

    def child(self, key: str) -> "Node":
        lines = {path[1:]: line for path, line in self.lines.items() if path[:1] == (key,)}
        return Node(self.plain[key], lines)

    def over(self, base: "Node") -> "Node":
        """This part laid over `base`: mappings merge, anything else replaces."""
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


def read_yaml(path: Path) -> Node:
    """A mapping from a file. Raises UsageError with file:line when it cannot be read as one."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError([f"{path}: no such file; run rushhour where scenarios.yaml is"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError([f"{path}: cannot be read: {error}"]) from None
    try:
        loaded = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError([f"{path}:{line}: not YAML: {error.problem}"]) from None
    except YAMLError as error:
        raise UsageError([f"{path}: not YAML: {error}"]) from None
    if not isinstance(loaded, CommentedMap):
        what = "is empty" if loaded is None else f"holds a {type(loaded).__name__}"
        raise UsageError([f"{path}:1: {what}; it must be a mapping"])
    lines: dict[KeyPath, int] = {(): 1}
    return Node(_plain(loaded, (), lines), lines)


def _plain(value: Any, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    if isinstance(value, CommentedMap):
        for key in value:
            lines[*path, str(key)] = value.lc.key(key)[0] + 1
        return {str(key): _plain(child, (*path, str(key)), lines) for key, child in value.items()}
    if isinstance(value, CommentedSeq):
        for index in range(len(value)):
            lines[*path, index] = value.lc.item(index)[0] + 1
        return [_plain(child, (*path, index), lines) for index, child in enumerate(value)]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):  # ruamel's scalars are subclasses that remember their spelling
        if isinstance(value, kind):
            return kind(value)
    return str(value)  # dates and the like: refused later by their type, with their text
