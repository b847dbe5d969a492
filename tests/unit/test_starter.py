"""`rushhour init`: what it writes is what rushhour and Locust read."""

import ast
import json
from pathlib import Path

import pytest

from rushhour.errors import UsageError
from rushhour.jobs.init.files import label, locust_file, scenario_file
from rushhour.jobs.init.routes import Route, health_of, of_openapi
from rushhour.scenario.file import load_scenarios

ROUTES = [
    Route("/", "GET"),
    Route("/customers/{customer_id}/referrals", "GET"),
    Route("/customers/{customer_id}/referrals", "POST"),
    Route("/healthz", "GET"),
    Route("/report/{year}", "GET"),
    Route("/report", "GET"),
    Route("/import", "GET"),
]


def test_the_scenario_file_is_valid(tmp_path: Path) -> None:
    (tmp_path / "scenarios.yaml").write_text(
        scenario_file("shop", "shop:create_app()", "v/bin/python", ROUTES)
    )
    (tmp_path / "customers.py").write_text(locust_file(ROUTES))
    scenario = load_scenarios(tmp_path / "scenarios.yaml").scenarios["evening"]
    assert (scenario.target.app, scenario.target.python) == ("shop:create_app()", "v/bin/python")
    assert scenario.target.health == "/healthz"


def test_the_locustfile_reads_each_route_under_the_agents_name() -> None:
    text = locust_file(ROUTES)
    [customer] = [one for one in ast.parse(text).body if isinstance(one, ast.ClassDef)]
    tasks = [one.name for one in customer.body if isinstance(one, ast.FunctionDef)]
    assert tasks == ["home", "customers_referrals", "report", "report_again", "get_import"]
    assert 'self.client.get("/customers/1/referrals", name="/customers/:id/referrals")' in text
    assert 'self.client.get("/report/1", name="/report/:year")' in text
    assert "# POST /customers/{customer_id}/referrals" in text
    assert label("/a/{a_id}/b/{b}") == "/a/:id/b/:b"


def test_routes_of_an_openapi_document(tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    path.write_text(
        json.dumps({"openapi": "3.1.0", "paths": {"/items": {"get": {}, "post": {}, "summary": "x"}}})
    )
    assert of_openapi(path) == [Route("/items", "GET"), Route("/items", "POST")]
    path.write_text("[]")
    with pytest.raises(UsageError, match="has no `paths`: it is no OpenAPI document"):
        of_openapi(path)
    path.write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        of_openapi(path)
    with pytest.raises(UsageError, match="no such file"):
        of_openapi(tmp_path / "missing.yaml")


def test_the_health_path_is_guessed() -> None:
    assert health_of(ROUTES) == "/healthz"
    assert (
        health_of([Route("/items/all", "GET"), Route("/items", "GET"), Route("/x/{id}", "GET")]) == "/items"
    )
    assert health_of([]) == "/"
