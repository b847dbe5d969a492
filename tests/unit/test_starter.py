"""`rushhour init`: what it writes is what rushhour and Locust read."""

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rushhour.cli.own_service_commands import write_starter as init
from rushhour.errors import UsageError
from rushhour.jobs.init.document import is_fastapi
from rushhour.jobs.init.files import label, locust_file, scenario_file
from rushhour.jobs.init.routes import Route, health_of, of_app, of_openapi
from rushhour.load.check import locustfile_problems
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Target

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
    [customer] = [item for item in ast.parse(text).body if isinstance(item, ast.ClassDef)]
    tasks = [item.name for item in customer.body if isinstance(item, ast.FunctionDef)]
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


FASTAPI: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/items/{item_id}": {
            "get": {"operationId": "read_item_items__item_id__get"},
            "head": {"operationId": "head_item_items__item_id__head"},
            "delete": {"operationId": "drop_item_items__item_id__delete"},
        },
        "/healthz": {"get": {"operationId": "health_healthz_get"}},
        "/me": {"get": {"operationId": "me_me_get"}},
    },
}


def with_scheme(scheme: dict[str, Any]) -> dict[str, Any]:
    return FASTAPI | {"components": {"securitySchemes": {"account": scheme}}}


def initialised(folder: Path, document: dict[str, Any]) -> tuple[Target, str]:
    (folder / "openapi.json").write_text(json.dumps(document))
    init(None, openapi=folder / "openapi.json", python=None, into=folder, force=True)
    scenario = load_scenarios(folder / "scenarios.yaml").scenarios["evening"]
    return scenario.target, (folder / "customers.py").read_text()


def test_fastapi_is_served_by_uvicorn_with_its_driver_in_the_url(tmp_path: Path) -> None:
    target, _ = initialised(tmp_path, FASTAPI)
    assert "-m uvicorn" in target.command
    assert "{port}" in target.command
    assert target.url_scheme == "postgresql+asyncpg"
    marked: dict[str, Any] = {
        "paths": {"/a": {"get": {}}},
        "components": {"schemas": {"HTTPValidationError": {}}},
    }
    assert is_fastapi(marked)


def test_another_framework_is_not_taken_for_fastapi(tmp_path: Path) -> None:
    target, _ = initialised(
        tmp_path, {"paths": {"/a": {"get": {"operationId": "list_a"}}, "/b": {"get": {}}}}
    )
    assert "gunicorn" in target.command
    assert target.url_scheme == "postgresql+psycopg2"


@pytest.mark.parametrize(
    ("document", "server"),
    [(FASTAPI, "FastAPI's uvicorn"), ({"paths": {"/a": {"get": {}}}}, "gunicorn")],
)
def test_a_guessed_command_is_said_to_be_one(
    document: dict[str, Any], server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    initialised(tmp_path, document)
    assert f"scenarios.yaml: `command` is a guess ({server}" in capsys.readouterr().out
    assert "# a guess: the document does not say" in (tmp_path / "scenarios.yaml").read_text()


def test_each_route_has_a_task_or_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, customers = initialised(tmp_path, FASTAPI)
    said = capsys.readouterr().out
    assert "5 routes: 2 have a task, 3 are left out:" in said
    for line in (
        "DELETE /items/{item_id}: it changes something: say with which values",
        "HEAD /items/{item_id}: a GET without its body",
        "GET /healthz: the health check",
    ):
        assert line in said
        assert f"# {line}" in customers
    for path in ("/items/1", "/me"):
        assert f'self.client.get("{path}"' in customers


def parameter(name: str, place: str = "query", *, required: bool = True, **given: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, **given}


@pytest.mark.parametrize(
    ("parameters", "call"),
    [
        ([parameter("q", schema={"type": "string"})], '"/find?q=FILL+IN", name="/find"'),
        ([parameter("q", example="a b&c")], '"/find?q=a+b%26c", name="/find"'),
        ([parameter("n", schema={"type": "integer"})], '"/find?n=1", name="/find"'),
        ([parameter("n", schema={"default": 25})], '"/find?n=25", name="/find"'),
        ([parameter("on", schema={"type": "boolean", "default": False})], '"/find?on=false", name="/find"'),
        ([parameter("sort", schema={"enum": ["price", "name"]})], '"/find?sort=price", name="/find"'),
        ([parameter("n", type="integer")], '"/find?n=1", name="/find"'),  # OpenAPI 2
        ([{"$ref": "#/components/parameters/tenant"}], '"/find", name="/find", headers={"X-Tenant": "t1"}'),
        ([parameter("q", required=False)], '"/find"'),
        ([parameter("Accept", "header")], '"/find"'),
        ([parameter("page", required=False, example="2")], '"/find?all=1", name="/find"'),
        ([{"$ref": "#/no/such"}, {"$ref": 3}, "x", {"required": True, "in": ["query"]}, None], '"/find"'),
    ],
)
def test_a_task_has_the_parameters_without_which_it_is_refused(
    parameters: list[Any], call: str, tmp_path: Path
) -> None:
    above = [parameter("all", example=1), parameter("page", example=1)] if "all=1" in call else []
    document: dict[str, Any] = {
        "paths": {"/find": {"parameters": above, "get": {"parameters": parameters}}, "/healthz": {"get": {}}},
        "components": {"parameters": {"tenant": parameter("X-Tenant", "header", schema={"example": "t1"})}},
    }
    _, customers = initialised(tmp_path, document)
    assert f"self.client.get({call})" in customers
    assert ("use values that exist" in customers) == ("name=" in call)
    compile(customers, "customers.py", "exec")
    if "headers=" in call:  # a process with Locust takes long
        assert locustfile_problems(tmp_path / "customers.py", tmp_path, print) == []


BREAK = "x\nimport os\nos._exit(7)\r#: {y"


@pytest.mark.parametrize(
    "document",
    [
        {"paths": {"/a": {"get": {"parameters": [parameter(BREAK)]}}}},
        {"paths": {"/a": {"get": {"parameters": [parameter(BREAK, "header")]}}}},
        {"paths": {"/a": {"get": {"parameters": [parameter("q", example=BREAK)]}}}},
        {"paths": {f"/{BREAK}": {"get": {}, "post": {}}, "/b": {"get": {}}}},
        {"paths": {f"/health{BREAK}": {"get": {}}, "/b": {"get": {}}}},
        {
            "paths": {"/b": {"get": {}}, "/c": {"get": {}}},
            "components": {"securitySchemes": {BREAK: {"type": "http", "scheme": BREAK}}},
        },
        {
            "paths": {"/b": {"get": {}}, "/c": {"get": {}}},
            "components": {"securitySchemes": {"k": {"type": "apiKey", "in": "query", "name": BREAK}}},
        },
    ],
)
def test_no_text_of_a_document_becomes_code(document: dict[str, Any], tmp_path: Path) -> None:
    _, customers = initialised(tmp_path, document)
    names = {node.id for node in ast.walk(ast.parse(customers)) if isinstance(node, ast.Name)}
    assert not names & {"os", "import"}
    assert locustfile_problems(tmp_path / "customers.py", tmp_path, print) == []


def test_a_required_header_goes_beside_the_log_in(tmp_path: Path) -> None:
    document = with_scheme({"type": "http", "scheme": "bearer"})
    document["paths"] = {"/a/{id}": {"get": {"parameters": [parameter("X-Tenant", "header", example="t")]}}}
    _, customers = initialised(tmp_path, document)
    assert 'get("/a/1", name="/a/:id", headers=self.headers | {"X-Tenant": "t"})' in customers
    assert "# id, X-Tenant: use values that exist" in customers


def test_an_application_and_a_document_are_not_read_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not both"):
        init("shop:app", openapi=tmp_path / "openapi.json", python=None, into=tmp_path, force=False)
    with pytest.raises(UsageError, match="give --app MODULE:APP, or --openapi PATH"):
        init(None, openapi=None, python=None, into=tmp_path, force=False)


PASSWORD: dict[str, Any] = {"type": "oauth2", "flows": {"password": {"tokenUrl": "token"}}}


@pytest.mark.long
@pytest.mark.parametrize(
    ("scheme", "written"),
    [
        (PASSWORD, 'self.client.post("/token", data=account)'),
        ({"type": "http", "scheme": "bearer"}, '{"Authorization": "Bearer FILL IN"}'),
        ({"type": "http", "scheme": "basic"}, '{"Authorization": "Basic FILL IN"}'),
        ({"type": "apiKey", "in": "header", "name": "X-Key"}, '{"X-Key": "FILL IN"}'),
        ({"type": "apiKey", "in": "cookie", "name": "sid"}, '{"Cookie": "sid=FILL IN"}'),
        ({"type": "apiKey", "in": "query", "name": "key"}, "/path?key=KEY"),
        ({"type": "openIdConnect", "openIdConnectUrl": "x"}, '{"Authorization": "Bearer FILL IN"}'),
    ],
)
def test_each_security_scheme_gets_a_log_in_to_fill_in(
    scheme: dict[str, Any], written: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, customers = initialised(tmp_path, with_scheme(scheme))
    assert written in customers
    assert 'self.client.get("/me", headers=self.headers)' in customers
    assert "fill in the log-in" in capsys.readouterr().out
    assert locustfile_problems(tmp_path / "customers.py", tmp_path, print) == []


@pytest.mark.parametrize(
    ("file", "setup"),
    [
        ("alembic.ini", "{python} -m alembic upgrade head"),
        ("migrations/env.py", "{python} -m flask db upgrade"),
        ("manage.py", "{python} manage.py migrate"),
    ],
)
def test_setup_is_written_where_the_folder_says_how_tables_are_made(
    file: str, setup: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert initialised(tmp_path, FASTAPI)[0].setup == ""
    assert "fill in `setup`" in capsys.readouterr().out
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert initialised(tmp_path, FASTAPI)[0].setup == setup


STARLETTE = """
class Route:
    include_in_schema = True
    def __init__(self, path, methods): self.path, self.methods = path, set(methods)
class WebSocketRoute:
    def __init__(self, path): self.path = path
class Mount:
    def __init__(self, path, routes): self.path, self.routes = path, routes
class Starlette:
    routes = [Route("/items/{item_id:int}", ["GET", "HEAD"]), WebSocketRoute("/live"),
              Mount("/admin", [Route("/users", ["GET", "POST"])])]
    def __call__(self, scope, receive, send): raise RuntimeError("an ASGI application is no factory")
"""


def test_routes_of_an_asgi_application(tmp_path: Path) -> None:
    (tmp_path / "starlette.py").write_text(STARLETTE)
    (tmp_path / "shop.py").write_text("import starlette\napp = starlette.Starlette()\n")
    routes, service = of_app("shop:app", sys.executable, tmp_path)
    assert service.asgi
    assert routes == [
        Route("/admin/users", "GET"),
        Route("/admin/users", "POST"),
        Route("/items/{item_id}", "GET"),
        Route("/live", "WEBSOCKET"),
    ]


FASTAPI_ROUTING = """
import types
class APIRoute:
    include_in_schema = True
    def __init__(self, path, methods): self.path, self.methods = path, set(methods)
class APIWebSocketRoute:
    def __init__(self, path): self.path = path
class IncludedRouter:  # has no path of its own
    def __init__(self, prefix, routes): self.prefix, self.included = prefix, routes
def context(route, path):
    known = {name: value for name, value in vars(route).items() if name != "path"}
    return types.SimpleNamespace(original_route=route, path=path, **known)
def iter_route_contexts(routes):
    for route in routes:
        if isinstance(route, IncludedRouter):
            yield from (context(inner, route.prefix + inner.path) for inner in route.included)
        else:
            yield context(route, route.path)
class FastAPI:
    routes = [APIRoute("/health", ["GET"]), IncludedRouter("/api", [APIRoute("/items/{item_id}", ["GET"]),
              APIWebSocketRoute("/live")])]
FastAPI.__module__ = "fastapi.applications"
"""


def test_routes_of_routers_that_fastapi_includes(tmp_path: Path) -> None:
    (tmp_path / "fastapi").mkdir()
    (tmp_path / "fastapi" / "__init__.py").touch()
    (tmp_path / "fastapi" / "routing.py").write_text(FASTAPI_ROUTING)
    (tmp_path / "shop.py").write_text("from fastapi.routing import FastAPI\napp = FastAPI()\n")
    routes, service = of_app("shop:app", sys.executable, tmp_path)
    assert service.asgi
    assert routes == [
        Route("/api/items/{item_id}", "GET"),
        Route("/api/live", "WEBSOCKET"),
        Route("/health", "GET"),
    ]
