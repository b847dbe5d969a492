"""Sorts the requests of a log by path into provisional endpoints, in bounded memory."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from rushhour.jobs.init.routes import Route
from rushhour.jobs.traffic.ids import IdFold, Kept
from rushhour.jobs.traffic.record import Logged
from rushhour.jobs.traffic.segments import (
    kind_of,
    parameter_name,
    split,
    static_extension,
    without_parameters,
)
from rushhour.jobs.traffic.vocabulary import FEWEST_OF_UNKNOWN

METHODS: Final = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))
MOST_NODES: Final = 5_000  # of the tree of paths; beyond, every new segment counts as a value
MOST_SIBLINGS: Final = 60  # more words than this at one place are values
SLUGS: Final = 8  # this many words that answer GET alone and lead to the same words are values
RARE_SIBLINGS: Final = 10  # from this many words on, mostly rare words make all of them values
DEEPEST: Final = 12  # segments; deeper paths are cut there
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_CACHE: Final = 20_000  # paths, of all methods together
_LONGEST_CACHED: Final = 512  # characters of a path
_LONGEST_VALUE: Final = 64  # a longer one is kept as its hash
_NOT_FOUND: Final = (404, 410)


@dataclass(slots=True)
class Node:
    """A place in the tree of paths, below a word or below a value of a kind."""

    name: str  # the word, or the kind of value
    is_value: bool = False
    parent: "Node | None" = None
    words: dict[str, "Node"] = field(default_factory=dict)
    values: dict[str, "Node"] = field(default_factory=dict)
    leaves: dict[str, "Leaf"] = field(default_factory=dict)
    visitors: set[str] = field(default_factory=set)  # some of those who sent a path that ends here
    ids: IdFold | None = None  # of a value
    parameter: str = ""  # its name in the service's own routes
    repeated: int = 0  # the value was the session's last one at this place
    changed: int = 0
    overflows: bool = False  # it met more words than it may keep


@dataclass(slots=True, eq=False)
class Leaf:
    """A method at a node: an endpoint, until the end of the log shows which words are values."""

    number: int
    node: Node
    method: str
    requests: int = 0
    errors: int = 0  # 5xx
    queries: int = 0
    slashed: int = 0  # with a slash at the end of the path
    of_routes: bool = True


@dataclass(slots=True)
class LeftOut:
    """Requests that are no part of the model, by reason."""

    static: dict[str, int] = field(default_factory=dict)  # by extension
    bots: int = 0
    missing: int = 0  # 404 where no other request found anything
    methods: int = 0
    outside: int = 0  # of none of the service's routes


class PathTree:
    """Assigns each request to a provisional endpoint; `templates` in `merging.py` makes the final ones."""

    def __init__(self, routes: Sequence[Route] = ()) -> None:
        self.root = Node("")
        self.leaves: list[Leaf] = []
        self.left_out = LeftOut()
        self.known = bool(routes)
        self.full = False  # there were more places than the tree may have
        self._by_method: dict[str, dict[str, tuple[Leaf, tuple[tuple[Node, str], ...]]]] = {}
        self._cached = 0
        self._nodes = 0
        self._kept = Kept()
        for route in routes:
            self._plant(route)

    def leaf_of(self, logged: Logged) -> tuple[Leaf, tuple[tuple[Node, str], ...]] | None:
        """The provisional endpoint of a request and the values in its path; None for what is left out."""
        left_out = self.left_out
        if logged.agent_kind == "bot":
            left_out.bots += 1
            return None
        method = logged.method
        if method not in METHODS:
            left_out.methods += 1
            return None
        cache = self._by_method.setdefault(method, {})
        found = cache.get(logged.path)
        if found is None:
            extension = static_extension(logged.path)
            if extension is not None and (method in ("GET", "HEAD")) and not self.known:
                left_out.static[extension] = left_out.static.get(extension, 0) + 1
                return None
            found = self._walk(method, split(logged.path), grow=logged.status not in _NOT_FOUND)
            if found is None:
                if extension is not None:
                    left_out.static[extension] = left_out.static.get(extension, 0) + 1
                elif self.known:
                    left_out.outside += 1
                else:
                    left_out.missing += 1
                return None
            if len(logged.path) <= _LONGEST_CACHED:
                self._make_room()
                cache[logged.path] = found
        leaf, values = found
        leaf.requests += 1
        leaf.errors += logged.status >= 500
        leaf.queries += logged.has_query
        leaf.slashed += logged.path[-1] == "/"
        visitors = leaf.node.visitors
        if len(visitors) < FEWEST_OF_UNKNOWN:
            visitors.add(logged.visitor)
        for node, value in values:
            if node.ids is None:
                node.ids = self._kept.fold()
            node.ids.add(value)
        return found

    def _make_room(self) -> None:
        self._cached += 1
        if self._cached > _CACHE:
            for cache in self._by_method.values():
                cache.clear()
            self._cached = 1

    def _walk(
        self, method: str, segments: list[str], *, grow: bool
    ) -> tuple[Leaf, tuple[tuple[Node, str], ...]] | None:
        node = self.root
        values: list[tuple[Node, str]] = []
        if self.known:
            matched = _match(node, segments, method)
            if matched is None:
                return None
            node, values = matched
            return node.leaves[method], tuple((child, _short(value)) for child, value in values)
        for segment in [without_parameters(segment) for segment in segments[:DEEPEST]]:
            child = self._child(node, segment, grow=grow)
            if child is None:
                if grow:
                    break  # the tree is full: the path is cut here
                return None
            if child.is_value:
                values.append((child, _short(segment)))
            node = child
        leaf = node.leaves.get(method)
        if leaf is None:
            if not grow:
                return None
            leaf = self._leaf(node, method)
        return leaf, tuple(values)

    def _child(self, node: Node, segment: str, *, grow: bool) -> Node | None:
        kind = kind_of(segment)
        if not kind:
            if (word := node.words.get(segment)) is not None:
                return word
            if grow and (len(node.words) >= MOST_SIBLINGS or self._nodes >= MOST_NODES):
                node.overflows = node.overflows or len(node.words) >= MOST_SIBLINGS
                self.full = self.full or self._nodes >= MOST_NODES
                kind = "slug"
            elif grow:
                node.words[segment] = child = Node(segment, parent=node)
                self._nodes += 1
                return child
            else:
                kind = "slug"
        known = node.values.get(kind)
        if known is None and grow:
            if self._nodes >= 2 * MOST_NODES:
                self.full = True
                return next(iter(node.values.values()), None)
            node.values[kind] = known = Node(kind, is_value=True, parent=node)
            self._nodes += 1
        return known

    def _leaf(self, node: Node, method: str) -> Leaf:
        leaf = node.leaves[method] = Leaf(len(self.leaves), node, method)
        self.leaves.append(leaf)
        return leaf

    def _plant(self, route: Route) -> None:
        if route.method not in METHODS:
            return
        node = self.root
        for segment in split(route.path):
            if (parameter := _PARAMETER.search(segment)) is not None:
                child = node.values.get("value")
                if child is None:
                    child = node.values["value"] = Node("value", is_value=True, parent=node)
                    child.parameter = parameter[1]
            elif (existing := node.words.get(segment)) is not None:
                child = existing
            else:
                child = node.words[segment] = Node(segment, parent=node)
            node = child
        if route.method not in node.leaves:
            self._leaf(node, route.method)


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else blake2b(value.encode(), digest_size=16).hexdigest()


def _match(node: Node, segments: list[str], method: str) -> tuple[Node, list[tuple[Node, str]]] | None:
    """The node of the service's routes that takes this path; words come before values, as in routers."""
    if not segments:
        return (node, []) if method in node.leaves else None
    first, rest = segments[0], segments[1:]
    if (word := node.words.get(first)) is not None and (found := _match(word, rest, method)):
        return found
    value = node.values.get("value")
    if value is not None and (found := _match(value, rest, method)):
        return found[0], [(value, first), *found[1]]
    return None


def nodes_below(node: Node) -> Iterator[Node]:
    """A node and every node below it."""
    yield node
    for child in (*node.words.values(), *node.values.values()):
        yield from nodes_below(child)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in a template."""

    name: str
    kind: str
    node: Node


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A final endpoint."""

    method: str
    template: str  # /customers/:id/referrals
    form: str  # /customers/{customer_id}/referrals
    parameters: tuple[Parameter, ...]

    @property
    def name(self) -> str:
        """As reports call it."""
        return f"{self.method} {self.template}"


def parameter_of(node: Node, before: str) -> Parameter:
    """The parameter of a value's node after the word `before`."""
    if node.parameter:
        return Parameter(node.parameter, "value", node)
    return Parameter(parameter_name(before, node.name), node.name, node)
