"""What the service says before it asks a database: errors as JSON, bodies, tokens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from itsdangerous import URLSafeTimedSerializer

from app import create_app
from app.config import Config
from app.connectors import Connectors

SECRET = "for tests"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    app = create_app(Config(url, url, secret=SECRET))
    yield app.test_client()
    Connectors.of(app).primary.engine.dispose()


def test_an_unknown_path(client: FlaskClient) -> None:
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert answer.json is not None
    assert "not found" in answer.json["error"]


def test_a_wrong_method(client: FlaskClient) -> None:
    answer = client.delete("/login")
    assert answer.status_code == 405
    assert answer.is_json


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the body is not a JSON object"),
        (b"{", "the body is not a JSON object"),
        (b"[1]", "the body is not a JSON object"),
        (b"{}", "customer_id is missing"),
        (b'{"customer_id": true}', "customer_id is not a whole number"),
        (b'{"customer_id": "1", "name": 2}', "name is not known; customer_id is not a whole number"),
    ],
)
def test_bodies_that_are_refused(client: FlaskClient, body: bytes, error: str) -> None:
    answer = client.post("/login", data=body, content_type="application/json")
    assert (answer.status_code, answer.json) == (400, {"error": error})


@pytest.mark.parametrize("path", ["/customers/1/summary", "/customers/1/referrals", "/nowhere"])
def test_a_forged_token(client: FlaskClient, path: str) -> None:
    token = URLSafeTimedSerializer("another secret", salt="log-in").dumps(1)
    answer = client.get(path, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json) == (401, {"error": "the token is not valid"})


def test_another_customers_token(client: FlaskClient) -> None:
    token = URLSafeTimedSerializer(SECRET, salt="log-in").dumps(2)
    answer = client.get("/customers/1/summary", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json) == (403, {"error": "the token is another customer's"})


def test_an_unexpected_error_names_its_type_and_is_logged(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/customers/1/summary")  # the SQLite file has no tables
    assert answer.status_code == 500
    assert answer.json == {"error": "internal server error", "type": "sqlalchemy.exc.OperationalError"}
    assert "Traceback" in caplog.text
    assert "no such table: customers" in caplog.text
    assert "app/customers.py" in caplog.text
