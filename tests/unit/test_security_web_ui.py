"""Headers of the web UI, and requests of other sites."""

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from rushhour.jobs.webui.guarding import guard_requests


def _guarded(*, loopback: bool = True) -> FlaskClient:
    app = Flask(__name__)
    guard_requests(app, loopback=loopback)

    @app.after_request
    def as_locust_does(answer: Response) -> Response:
        answer.headers["Access-Control-Allow-Origin"] = "*"
        return answer

    @app.route("/", methods=["GET", "POST"])
    @app.route("/rushhour/runs/x/locust.html")
    def page() -> str:
        return "<p>a page</p>"

    return app.test_client()


@pytest.mark.parametrize("path", ["/", "/rushhour/runs/x/locust.html", "/no-such-page"])
def test_every_answer_of_the_web_ui_has_the_headers(path: str) -> None:
    headers = _guarded().get(path, base_url="http://127.0.0.1:8089").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers
    assert ("default-src 'none'" in headers["Content-Security-Policy"]) == ("/runs/" in path)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8089"}, 200),
        ({"Host": "[::1]:8089"}, 200),
        ({"Host": "rebound.example:8089"}, 403),
        ({"Host": "127.0.0.1.example:8089"}, 403),
        ({"Origin": "http://other.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://127.0.0.1:8089"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
    ],
)
def test_requests_of_other_sites_are_refused(headers: dict[str, str], status: int) -> None:
    for method in ("GET", "POST"):
        answer = _guarded().open("/", method=method, base_url="http://127.0.0.1:8089", headers=headers)
        assert answer.status_code == status, method
        assert answer.headers["X-Frame-Options"] == "DENY"


def test_another_site_may_link_to_the_page_and_not_post_to_it() -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    client = _guarded()
    assert client.get("/", base_url="http://127.0.0.1", headers=headers).status_code == 200
    assert client.post("/", base_url="http://127.0.0.1", headers=headers).status_code == 403
