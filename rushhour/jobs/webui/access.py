"""Who may ask the page for anything: other sites never, people after a log-in where that was asked for."""

# flask-login carries no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import secrets
from typing import Final
from urllib.parse import urlsplit

import gevent
from flask import Flask, Response, make_response, redirect, request, session, url_for
from flask_login import UserMixin, login_user
from gevent.lock import Semaphore
from locust.web import WebUI
from werkzeug.wrappers import Response as BaseResponse

from rushhour.jobs.webui.login import matches
from rushhour.jobs.webui.messages import Login
from rushhour.scenario.hosts import is_loopback

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Locust's own pages carry their data in a script of their own, so they cannot do without inline scripts.
OF_LOCUST: Final = "base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
# Files of a run hold what the service answered: their scripts may draw, and reach nothing.
OF_RUNS: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
WRONG_PAUSE_S: Final = 1.0  # after a wrong password, for all that try at the same time


class Known(UserMixin):  # type: ignore[misc]  # flask-login has no types
    """The one user there is."""

    def __init__(self, name: str) -> None:
        self.id = name


def guard_requests(app: Flask, *, loopback: bool) -> None:
    """Refuse what another site's page sends, and names that are not this machine's; forbid to frame a page.

    Locust lets every site read its answers. Without this, any page open in the same browser could start load
    or, by a name that it makes point to the loopback address, read the reports.
    """

    @app.before_request
    def refuse() -> Response | None:
        if loopback and not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            return make_response(f"{request.host} is not this machine", 403)
        origin = request.headers.get("Origin")
        foreign = origin is not None and urlsplit(origin).netloc != request.host
        site = request.headers.get("Sec-Fetch-Site", "none")
        link = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        if foreign or (site not in ("none", "same-origin") and not link):
            return make_response("requests of other sites are refused", 403)
        return None

    def protect(answer: Response) -> Response:
        for name in [name for name, _ in answer.headers if name.startswith("Access-Control-")]:
            del answer.headers[name]
        answer.headers.update(HEADERS)
        policy = OF_RUNS if request.path.startswith("/rushhour/runs/") else OF_LOCUST
        answer.headers.setdefault("Content-Security-Policy", policy)
        return answer

    # The first of the list is called last: Locust's own permission for every site has been added by then.
    app.after_request_funcs.setdefault(None, []).insert(0, protect)


def require_login(web_ui: WebUI, login: Login) -> None:
    """Everything but Locust's own script and the log-in itself asks for it; a session ends with Locust."""
    app = web_ui.app
    assert app is not None  # noqa: S101  # it is set as the web UI is made
    app.secret_key = secrets.token_bytes(32)
    app.config |= {
        "SESSION_COOKIE_NAME": "rushhour_ui",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Strict",
    }
    one_at_a_time = Semaphore()

    @web_ui.login_manager.user_loader
    def load(name: str) -> Known | None:
        return Known(name) if name == login.user else None

    web_ui.auth_args = {"username_password_callback": "/rushhour/login"}

    @app.route("/rushhour/login", methods=["POST"])
    def check() -> BaseResponse:
        with one_at_a_time:
            if not matches(login, request.form):
                gevent.sleep(WRONG_PAUSE_S)
                session["auth_error"] = "Wrong user or password"
                return redirect(url_for("locust.login"))
        session.clear()
        login_user(Known(login.user))
        return redirect(url_for("locust.index"))
