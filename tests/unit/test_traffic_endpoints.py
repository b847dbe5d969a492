"""Endpoints are learnt from paths: values become parameters, and only common words stay."""

import random
import uuid
from collections.abc import Iterable

import pytest

from rushhour.jobs.init.routes import Route
from rushhour.jobs.traffic.build import Asked
from rushhour.jobs.traffic.ids import IdFold
from rushhour.jobs.traffic.record import Logged
from rushhour.jobs.traffic.segments import kind_of, parameter_name, static_extension
from tests.unit.traffic_samples import ROUTES, logged, modelled


def visits(paths: Iterable[str], visitors: int = 20, **given: object) -> list[Logged]:
    return [
        logged(float(at), path, f"visitor {at % visitors}", **given)  # type: ignore[arg-type]
        for at, path in enumerate(paths)
    ]


def names(requests: list[Logged], asked: Asked | None = None) -> list[str]:
    return sorted(one.name for one in modelled(requests, asked).endpoints)


@pytest.mark.parametrize(
    ("segment", "kind"),
    [
        ("42", "number"),
        ("-1", "number"),
        ("8d3f7f0a-4a4b-4a7e-9a55-0d6f4a1c2b3d", "uuid"),
        ("2026-11-24", "date"),
        ("9f86d081884c7d65", "hash"),
        ("iphone-15-pro", "key"),
        ("someone@example.test", "key"),
        ("someone%40example.test", "key"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_1", "key"),
        ("QkFzZTY0VG9rZW5XaXRoTWl4ZWRDYXNl", "key"),
        ("order-20261124-0007", "key"),
        ("%E4%BD%A0", "key"),
        ("v2", ""),
        ("oauth2", ""),
        ("customers", ""),
        ("getCustomer", ""),
        ("sitemap_index", ""),
    ],
)
def test_a_segment_is_a_value_unless_it_is_plainly_a_word(segment: str, kind: str) -> None:
    assert kind_of(segment) == kind


def test_numbers_and_uuids_become_parameters() -> None:
    rng = random.Random(1)  # noqa: S311  # no secret
    paths = [f"/customers/{rng.randint(1, 999)}/referrals" for _ in range(100)]
    paths += [f"/orders/{uuid.UUID(int=rng.getrandbits(128))}" for _ in range(100)]
    assert names(visits(paths)) == ["GET /customers/:id/referrals", "GET /orders/:id"]


def test_many_slugs_become_a_parameter_and_the_merge_says_why() -> None:
    words = [first + second for first in "abcdefghij" for second in "klmnopqrst"]
    model = modelled(visits(f"/products/{words[at % 100]}" for at in range(4_000)))
    assert [one.name for one in model.endpoints] == ["GET /products/:product_slug"]
    [merge] = model.merges
    assert merge.place == "/products/:product_slug"
    assert "more than" in merge.why
    assert merge.words == 60


def test_few_slugs_that_lead_no_further_become_a_parameter_too() -> None:
    words = ("shoes", "shirts", "hats", "socks", "belts", "coats", "gloves", "scarves")
    assert names(visits(f"/shop/{words[at % 8]}" for at in range(800))) == ["GET /shop/:shop_slug"]


def test_resources_beside_each_other_stay_words() -> None:
    words = ("users", "orders", "carts", "items", "bills", "refunds", "stocks", "offers", "taxes")
    found = names(visits(f"/api/{words[at % 9]}/{at}" for at in range(900)))
    assert found == sorted(f"GET /api/{word}/:id" for word in words)


def test_a_word_of_few_visitors_becomes_a_parameter() -> None:
    requests = visits(["/account"] * 100) + [
        logged(200.0 + at, "/account/secret", "alone") for at in range(50)
    ]
    assert names(requests) == ["GET /account", "GET /account/:account_slug"]


def test_a_word_that_is_seldom_becomes_a_parameter() -> None:
    requests = visits(["/account"] * 100) + visits(["/account/secret"] * 6)
    assert "secret" not in " ".join(names(requests))


def test_paths_that_nothing_answers_are_left_out_and_hide_no_route() -> None:
    probes = visits((f"/{word * 3}.php" for word in "abcdefghijklmnopqrstuvwxyz" * 10), status=404)
    model = modelled([*probes, *visits(["/cart"] * 100)])
    assert [one.name for one in model.endpoints] == ["GET /cart"]
    assert [note.requests for note in model.left_out if "do not exist" in note.what] == [260]


def test_static_files_and_bots_are_apart() -> None:
    requests = visits(["/cart"] * 100) + visits(["/static/app.js", "/logo.png"] * 10)
    requests += visits(["/cart"] * 30, agent="bot")
    model = modelled(requests)
    assert [(one.name, one.requests) for one in model.endpoints] == [("GET /cart", 100)]
    left_out = {note.what: note.requests for note in model.left_out}
    assert left_out["static files"] == 20
    assert left_out["requests of bots"] == 30


def test_the_routes_of_the_service_name_the_endpoints() -> None:
    requests = visits(["/customers/me/summary", "/customers/7/summary", "/elsewhere"] * 20)
    model = modelled(requests, Asked(routes=ROUTES))
    assert [(one.name, one.requests) for one in model.endpoints] == [("GET /customers/:id/summary", 40)]
    assert model.endpoints[0].parameters == ("customer_id",)
    assert [note.requests for note in model.left_out if "other paths" in note.what] == [20]


def test_a_word_of_a_route_comes_before_a_parameter() -> None:
    routes = [Route("/customers/{id}", "GET"), Route("/customers/me", "GET")]
    assert names(visits(["/customers/me", "/customers/5"] * 9), Asked(routes=routes)) == [
        "GET /customers/:id",
        "GET /customers/me",
    ]


def test_a_route_with_a_parameter_in_a_part_of_a_segment_takes_its_paths() -> None:
    routes = [Route("/files/{name}.json", "GET"), Route("/shop-{shop}/cart", "GET")]
    model = modelled(visits(["/files/a1.json", "/shop-7/cart"] * 9), Asked(routes=routes))
    assert [one.requests for one in model.endpoints] == [9, 9]
    assert {one.name for one in model.parameters} == {"name", "shop"}


def test_a_learnt_parameter_is_called_after_the_word_before_it() -> None:
    assert parameter_name("customers", "number") == "customer_id"
    assert parameter_name("categories", "slug") == "category_slug"
    assert parameter_name("", "number") == "id"


def test_only_known_extensions_are_static() -> None:
    assert static_extension("/a/b.css") == "css"
    assert static_extension("/users/jane.doe") is None
    assert static_extension("/.env") is None


def test_the_skew_is_by_rank() -> None:
    fold = IdFold()
    for value in range(1, 101):
        fold.add(str(value), 101 - value)
    skew = fold.skew()
    assert skew is not None
    assert skew.distinct == 100
    assert dict(skew.bands) == pytest.approx({1: 100 / 5050, 10: 955 / 5050, 100: 1.0})


def test_the_skew_of_more_values_than_fit_is_near_the_truth() -> None:
    fold = IdFold(most=500)
    rng = random.Random(4)  # noqa: S311  # no secret
    values = [str(int(rng.paretovariate(0.7))) for _ in range(40_000)]
    for value in values:
        fold.add(value)
    skew = fold.skew()
    assert skew is not None
    assert skew.estimated
    assert skew.distinct == pytest.approx(len(set(values)), rel=0.05)
    assert skew.bands[0][1] == pytest.approx(values.count("1") / len(values), rel=0.02)


def test_the_tree_of_paths_is_bounded() -> None:
    rng = random.Random(5)  # noqa: S311  # no secret
    letters = "abcdefghijklmnopqrstuvwxyz"
    paths = ("/" + "/".join("".join(rng.choices(letters, k=6)) for _ in range(6)) for _ in range(3_000))
    model = modelled(visits(paths))
    assert len(model.endpoints) < 10


@pytest.mark.parametrize("routes", [(), (Route("/orders/", "GET"), Route("/orders/{order_id}/", "GET"))])
def test_paths_keep_the_slash_at_their_end_that_most_requests_have(routes: tuple[Route, ...]) -> None:
    found = [
        logged(t, path, f"visitor {t}")
        for t in range(60)
        for path in ("/orders/" if t % 4 else "/orders", f"/orders/{t}/", "/")
    ]
    model = modelled(found, Asked(routes=routes))
    forms = {endpoint.name: endpoint.form for endpoint in model.endpoints}
    assert forms["GET /orders"] == "/orders/"
    assert forms["GET /orders/:id"] == "/orders/{order_id}/"
    assert [endpoint.requests for endpoint in model.endpoints][:2] == [60, 60]


def test_paths_without_a_slash_at_their_end_get_none() -> None:
    model = modelled(
        logged(t, path, f"visitor {t}")
        for t in range(60)
        for path in ("/orders" if t % 4 else "/orders/", "/")
    )
    assert {endpoint.name: endpoint.form for endpoint in model.endpoints} == {
        "GET /orders": "/orders",
        "GET /": "/",
    }


def test_parameters_of_a_segment_are_no_part_of_an_endpoint() -> None:
    found = [
        logged(t, path, f"visitor {t}")
        for t in range(60)
        for path in (f"/cart;jsessionid=A{t:031d}", "/cart", f"/orders;sort=up;page={t}/{t}")
    ]
    model = modelled(found)
    assert {endpoint.name: endpoint.requests for endpoint in model.endpoints} == {
        "GET /cart": 120,
        "GET /orders/:id": 60,
    }
