"""Decides at the end of a log which words of its paths are values, and names the endpoints."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rushhour.jobs.init.files import label
from rushhour.jobs.traffic.endpoints import (
    MOST_SIBLINGS,
    RARE_SIBLINGS,
    SLUGS,
    Endpoint,
    Leaf,
    Node,
    Parameter,
    PathTree,
    nodes_below,
    parameter_of,
)
from rushhour.jobs.traffic.ids import IdFold
from rushhour.jobs.traffic.vocabulary import (
    FEWEST_OF_UNKNOWN,
    FEWEST_REQUESTS,
    FEWEST_VISITORS,
    is_known,
    is_personal,
    never_a_word,
)

FEW_BELOW: Final = 4  # paths below all words that are alike, the words themselves counted
IsUser = Callable[[str], bool]
_MINOR: Final = 0.1  # kinds of values with less than this share of a place join its main kind


@dataclass(frozen=True, slots=True)
class Merge:
    """Words that became a value, counted and never named."""

    place: str  # the template up to the value, such as /products/:slug
    words: int
    requests: int
    why: str


@dataclass(frozen=True, slots=True)
class Templates:
    """The final endpoints; `of_leaf` leads there from the number of a provisional endpoint."""

    endpoints: tuple[Endpoint, ...]
    of_leaf: dict[int, int]
    merges: tuple[Merge, ...]


def templates(tree: PathTree, is_user: IsUser = lambda _: False) -> Templates:
    """Merge the tree in place; call it once, after the last request. `is_user` knows the users of the log."""
    moved: dict[int, Leaf] = {}
    merges: list[Merge] = []
    if not tree.known:
        _Settling(is_user, moved, merges).settle(tree.root)
    endpoints: list[Endpoint] = []
    number_of: dict[tuple[str, str], int] = {}
    numbers: dict[int, int] = {}
    for leaf, endpoint in _named(tree.root, "", "", ()):
        if leaf.requests:
            key = (endpoint.method, endpoint.form.rstrip("/"))
            if key not in number_of:
                number_of[key] = len(endpoints)
                endpoints.append(endpoint)
            numbers[leaf.number] = number_of[key]
    of_leaf = {}
    for leaf in tree.leaves:
        final = leaf
        while final.number in moved:
            final = moved[final.number]
        if final.number in numbers:
            of_leaf[leaf.number] = numbers[final.number]
    return Templates(tuple(endpoints), of_leaf, tuple(merges))


@dataclass(frozen=True, slots=True)
class _Settling:
    """Turns words into values from the root down, so that what is merged is looked at as a whole."""

    is_user: IsUser
    moved: dict[int, Leaf]
    merges: list[Merge]

    def settle(self, node: Node) -> None:
        words = list(node.words.values())
        weights = {child.name: _weight(child) for child in words}
        before = "" if node.is_value else node.name
        rare = [child for child in words if _is_rare(child.name, before, weights[child.name])]
        own = [child for child in words if child not in rare and self._is_own(child.name, before)]
        seldom = sum(_is_seldom(weights[child.name], FEWEST_VISITORS) for child in words)
        why, chosen = _why_all(node, words, seldom)
        if not why and (
            same := [child for child in _same_below(words) if child not in rare and child not in own]
        ):
            why, chosen = "words of no list that lead to the same words", same
        if own and not why:
            why = (
                "names of clients, files or records, by their looks, the word before them or the log's users"
            )
        merged = list({child.name: child for child in (*chosen, *own, *rare)}.values())
        if merged:
            into = node.values.setdefault("slug", Node("slug", is_value=True, parent=node))
            into.ids = into.ids or IdFold()
            for child in merged:
                del node.words[child.name]
                into.ids.add(child.name, max(weights[child.name][0], 1))
                _graft(into, child, self.moved)
            requests = sum(weights[child.name][0] for child in merged)
            self.merges.append(Merge(_place(into), len(merged), requests, why or _RARE))
        _join_kinds(node, self.moved)
        for child in (*node.words.values(), *node.values.values()):
            self.settle(child)

    def _is_own(self, word: str, before: str) -> bool:
        return never_a_word(word, before) or (self.is_user(word) and not is_known(word))


_RARE: Final = (
    f"seen less than {FEWEST_REQUESTS} times or from fewer than {FEWEST_VISITORS} visitors "
    f"({FEWEST_OF_UNKNOWN} for a word of no list)"
)


def _why_all(node: Node, words: list[Node], seldom: int) -> tuple[str, list[Node]]:
    """Why words at one place are values, and which of them; empty where each is looked at alone."""
    if node.overflows:
        return f"more than {MOST_SIBLINGS} words at one place", words
    if len(words) >= RARE_SIBLINGS and seldom * 2 > len(words):
        return "most words at this place are rare", words
    if node.parent is not None and len(words) >= SLUGS and len(alike := _alike(words)) >= SLUGS:
        return f"{len(alike)} words that answer GET alone and lead to the same words", alike
    if len(words) >= SLUGS and "slug" in node.values:
        return "values at the same place", words
    return "", []


def _same_below(words: Sequence[Node]) -> list[Node]:
    """Words of no list, two or more of which lead to the same words and to no value (`/alice/posts`)."""
    groups: dict[frozenset[str], list[Node]] = defaultdict(list)
    for node in words:
        if node.words and not node.values and not is_known(node.name):
            groups[frozenset(node.words)].append(node)
    return [node for group in groups.values() if len(group) > 1 for node in group]


def _weight(node: Node) -> tuple[int, int]:
    """Requests at and below a node, and visitors, as far as they are kept."""
    requests, visitors = 0, set[str]()
    for below in nodes_below(node):
        requests += sum(leaf.requests for leaf in below.leaves.values())
        if len(visitors) < FEWEST_OF_UNKNOWN:
            visitors |= below.visitors
    return requests, len(visitors)


def _is_rare(word: str, before: str, weight: tuple[int, int]) -> bool:
    plain = is_known(word) and not is_personal(before)
    return _is_seldom(weight, FEWEST_VISITORS if plain else FEWEST_OF_UNKNOWN)


def _is_seldom(weight: tuple[int, int], fewest: int) -> bool:
    return weight[0] < FEWEST_REQUESTS or weight[1] < fewest


def _alike(words: Sequence[Node]) -> list[Node]:
    """Return those that answer GET alone, have no values below, and lead to the same few words."""
    shapes = [(node, shape) for node in words if (shape := _shape(node)) is not None]
    below = {path for _, shape in shapes for path, _ in shape}
    return [node for node, _ in shapes] if len(below) <= FEW_BELOW else []


def _shape(node: Node) -> frozenset[tuple[str, bool]] | None:
    """The paths below a node, and whether each is answered; None where it has values or changes something."""
    found: set[tuple[str, bool]] = set()
    waiting = [("", node)]
    while waiting:
        path, at = waiting.pop()
        if at.values or not set(at.leaves) <= {"GET", "HEAD"}:
            return None
        found.add((path, bool(at.leaves)))
        waiting += [(f"{path}/{name}", child) for name, child in at.words.items()]
    return frozenset(found)


def _graft(into: Node, other: Node, moved: dict[int, Leaf]) -> None:
    """Add a node's requests, and all below it, to another node."""
    into.visitors |= other.visitors
    into.overflows = into.overflows or other.overflows
    into.repeated += other.repeated
    into.changed += other.changed
    if other.is_value and other.ids is not None:
        into.ids = into.ids or IdFold()
        into.ids.merge(other.ids)
    for method, leaf in other.leaves.items():
        if (kept := into.leaves.get(method)) is None:
            into.leaves[method] = leaf
            leaf.node = into
            continue
        kept.requests += leaf.requests
        kept.errors += leaf.errors
        kept.queries += leaf.queries
        kept.slashed += leaf.slashed
        moved[leaf.number] = kept
    for mine, theirs in ((into.words, other.words), (into.values, other.values)):
        for name, child in theirs.items():
            if name in mine:
                _graft(mine[name], child, moved)
            else:
                mine[name] = child
                child.parent = into


def _join_kinds(node: Node, moved: dict[int, Leaf]) -> None:
    """Values of kinds that are few at a place are of its main kind: a slug with digits is a slug."""
    if len(node.values) < 2:
        return
    weights = {kind: _weight(child)[0] for kind, child in node.values.items()}
    main = max(weights, key=lambda kind: (weights[kind], kind))
    total = sum(weights.values())
    for kind in [kind for kind in weights if kind != main]:
        text = {kind, main} <= {"slug", "key", "hash"}
        if text or weights[kind] < _MINOR * total:
            _graft(node.values[main], node.values.pop(kind), moved)


def _place(node: Node) -> str:
    parts: list[str] = []
    at: Node | None = node
    while at is not None and at.parent is not None:
        before = at.parent
        word = "" if before.is_value else before.name
        parts.append(f"{{{parameter_of(at, word).name}}}" if at.is_value else at.name)
        at = before
    return label("/" + "/".join(reversed(parts)))


def _named(
    node: Node, form: str, before: str, parameters: tuple[Parameter, ...]
) -> Iterator[tuple[Leaf, Endpoint]]:
    for method, leaf in sorted(node.leaves.items()):
        slash = "/" if leaf.slashed * 2 > leaf.requests or not form else ""
        yield leaf, Endpoint(method, label(form) or "/", f"{form}{slash}", parameters)
    for name, child in sorted(node.words.items()):
        yield from _named(child, f"{form}/{name}", name, parameters)
    for _, child in sorted(node.values.items()):
        own = parameter_of(child, before)
        if own.name in {parameter.name for parameter in parameters}:
            own = Parameter(f"{own.name}_{len(parameters) + 1}", own.kind, own.node)
        yield from _named(child, f"{form}/{{{own.name}}}", "", (*parameters, own))
