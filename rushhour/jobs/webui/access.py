"""Asks whoever opens the page for a log-in, where that was asked for."""

# flask-login carries no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import secrets
from typing import Final

import gevent
from flask import redirect, request, session, url_for
from flask_login import UserMixin, login_user
from gevent.lock import Semaphore
from locust.web import WebUI
from werkzeug.wrappers import Response as BaseResponse

from rushhour.jobs.webui.login import matches
from rushhour.jobs.webui.messages import Login

WRONG_PAUSE_S: Final = 1.0  # after a wrong password, for all that try at the same time


class Known(UserMixin):  # type: ignore[misc]  # flask-login has no types
    """The one user there is."""

    def __init__(self, name: str) -> None:
        self.id = name


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
