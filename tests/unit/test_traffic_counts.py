"""Whatever requests come, each is counted once, in the model or as left out, and nothing raises."""

import string
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rushhour.errors import UsageError
from rushhour.jobs.traffic.build import Asked, Fold, build
from rushhour.jobs.traffic.locustfile import customers_file
from rushhour.jobs.traffic.model import to_json
from rushhour.jobs.traffic.page import model_page
from rushhour.jobs.traffic.record import Logged
from tests.unit.traffic_samples import ROUTES, START, report_of

SEGMENT = st.one_of(
    st.sampled_from(["customers", "orders", "login", "cart", "v1", "static", "favicon.ico", "app.js"]),
    st.integers(0, 10**9).map(str),
    st.uuids().map(str),
    st.text(string.printable.strip(), max_size=30).map(lambda text: text.replace("/", "")),
)
REQUEST = st.builds(
    Logged,
    t=st.floats(START, START + 7_200),
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "PROPFIND", "-"]),
    path=st.lists(SEGMENT, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    has_query=st.booleans(),
    status=st.sampled_from([0, 101, 200, 301, 404, 410, 499, 500, 503]),
    seconds=st.one_of(st.none(), st.floats(0, 100)),
    size=st.none(),
    visitor=st.sampled_from([f"v{at}" for at in range(12)]),
    agent_kind=st.sampled_from(["bot", "client", "unknown"]),
    line=st.just(1),
)


@given(st.lists(REQUEST, max_size=120), st.booleans(), st.sampled_from([1.0, 0.001]))
@settings(max_examples=150, deadline=None)
def test_each_request_is_counted_once(requests: list[Logged], known: bool, resolution_s: float) -> None:
    fold = Fold(Asked(routes=ROUTES if known else ()))
    fold.take(sorted(requests, key=lambda one: one.t))
    out = fold.tree.left_out
    apart = sum(out.static.values()) + out.bots + out.missing + out.outside + out.methods
    model: Any = None
    try:
        model = build(fold, report_of(requests, resolution_s))
    except UsageError:
        assert apart == len(requests)
        return
    assert sum(one.requests for one in model.endpoints) + apart == len(requests)
    assert abs(sum(one.share for one in model.endpoints) - 1) < 1e-9
    for one in model.endpoints:
        if one.after is not None:
            assert abs(one.after.at_once + one.after.think + one.after.end - 1) < 1e-9
    to_json(model)
    model_page(model)
    if model.walks:
        compile(customers_file(model, {}), "customers.py", "exec")
