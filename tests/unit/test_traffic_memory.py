"""What is counted of a log stays within bounds, whatever is different in its lines."""

import random
import string
from collections.abc import Iterator

import pytest

from rushhour.jobs.traffic import endpoints, sessions
from rushhour.jobs.traffic.build import Asked, Fold, build
from rushhour.jobs.traffic.endpoints import nodes_below
from rushhour.jobs.traffic.ids import IdFold, Kept
from rushhour.jobs.traffic.record import Logged
from tests.unit.traffic_samples import logged, report_of

KINDS = ("number", "uuid", "date", "hash", "key", "word")


def segment(rng: random.Random, kind: str) -> str:
    if kind == "number":
        return str(rng.randrange(10**9))
    if kind == "uuid":
        return f"{rng.getrandbits(32):08x}-0000-4000-8000-{rng.getrandbits(48):012x}"
    if kind == "date":
        return f"20{rng.randrange(10, 30)}-11-{rng.randrange(10, 28)}"
    if kind == "hash":
        return f"{rng.getrandbits(60):015x}0"
    if kind == "key":
        return f"k{rng.getrandbits(80)}@x"
    return "".join(rng.choices(string.ascii_lowercase, k=7))


def all_different(lines: int, seed: int = 1) -> Iterator[Logged]:
    """Requests with another visitor and other paths each, of all kinds of values at all depths."""
    rng = random.Random(seed)  # noqa: S311  # no secret
    for at in range(lines):
        kinds = rng.choices(KINDS, k=rng.randrange(1, 14))
        path = "/" + "/".join(segment(rng, kind) for kind in kinds)
        visitor = f"visitor {at}" if at % 3 else f"visitor {rng.randrange(max(at, 1))}"
        yield logged(at / 20, path, visitor, method=rng.choice(("GET", "POST", "PUT")))


def test_places_moves_and_cached_paths_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MOST_NODES", 60)
    monkeypatch.setattr(endpoints, "_CACHE", 100)
    monkeypatch.setattr(sessions, "MOST_MOVES", 50)
    requests = list(all_different(3_000))
    fold = Fold(Asked(most_open=300))
    fold.take(requests)
    tree = fold.tree
    assert len(list(nodes_below(tree.root))) <= 2 * 60 + 1
    assert len(tree.leaves) <= 3 * (2 * 60 + 1)
    assert sum(map(len, tree._by_method.values())) <= 100
    assert len(fold.sessions.moves.to) <= 50
    assert fold.sessions.share > 1
    model = build(fold, report_of(requests))
    assert sum(one.requests for one in model.endpoints) == 3_000
    said = {note.what for note in model.left_out}
    assert said >= {"places in paths", "moves from endpoint to endpoint", "visitors"}


def test_long_paths_and_values_are_kept_as_hashes() -> None:
    fold = Fold(Asked())
    fold.take(
        logged(float(at), f"/files/{at}x{'y' * 60_000}/{'z' * 600}{at}", f"visitor {at}") for at in range(200)
    )
    assert not any(fold.tree._by_method.values())
    kept = [value for node in nodes_below(fold.tree.root) if node.ids for value in node.ids._counts]
    assert len(kept) == 400
    assert max(map(len, kept)) <= 64


def test_all_parameters_together_keep_no_more_values_than_fit() -> None:
    kept = Kept(1_000)
    folds = [kept.fold() for _ in range(50)]
    for value in range(20_000):
        folds[value % 50].add(str(value))
        folds[0].add("hot")
        assert kept.total <= 1_000
    assert sum(fold.kept for fold in folds) == kept.total
    skews = [fold.skew() for fold in folds]
    assert all(skew is not None and skew.distinct == pytest.approx(400, rel=0.1) for skew in skews)
    assert skews[0] is not None
    assert skews[0].bands[0][1] == pytest.approx(20_000 / 20_400, abs=0.001)


def test_folds_that_are_merged_keep_their_number_of_values() -> None:
    kept = Kept(500)
    one, other = kept.fold(), kept.fold()
    for value in range(3_000):
        one.add(f"a{value}")
        other.add(f"b{value}")
    one.merge(other)
    skew = one.skew()
    assert skew is not None
    assert skew.distinct == pytest.approx(6_000, rel=0.05)
    assert kept.total == one.kept
    assert other.skew() is None


def test_many_different_values_are_forgotten_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[IdFold] = []
    forget = IdFold.forget

    def counted(fold: IdFold) -> None:
        calls.append(fold)
        forget(fold)

    monkeypatch.setattr(IdFold, "forget", counted)
    fold = IdFold(most=400)
    for value in range(400):
        fold.add(str(value), 2 + value)  # each as often as no other
    for value in range(400, 8_000):
        fold.add(str(value))
    assert len(calls) <= 8_000 / 100 + 1
    skew = fold.skew()
    assert skew is not None
    assert skew.distinct == pytest.approx(8_000, rel=0.05)
