"""Our pages beside Locust's: the live charts, the bar under Locust's own page, the runs' reports."""

# Locust's web UI and flask-cors carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import functools
import importlib.resources
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from flask import (
    Response,
    abort,
    jsonify,
    make_response,
    render_template_string,
    request,
    send_file,
)
from locust.web import WebUI
from plotly.offline import get_plotlyjs
from werkzeug.security import safe_join

from rushhour.jobs.webui.access import require_login
from rushhour.jobs.webui.board import Board, bar_of, shown_state
from rushhour.jobs.webui.form import form_numbers, form_values
from rushhour.jobs.webui.guarding import guard_requests
from rushhour.jobs.webui.masked import LOGS, mask_answers, masked_lines
from rushhour.jobs.webui.messages import Welcome
from rushhour.jobs.webui.tables import TABLES, TABS, tables
from rushhour.process.regular import open_to_read
from rushhour.report.embed import asset

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
BAR: Final = '<script src="/rushhour/bar.js" defer></script>'


def add_pages(
    web_ui: WebUI,
    board: Board,
    welcome: Welcome,
    *,
    swarm: Callable[[], Response],
    stop: Callable[[], Response],
) -> None:
    """Add routes, tabs and form fields to Locust's web UI, before it starts."""
    app = web_ui.app
    assert app is not None  # noqa: S101  # it is set as the web UI is made
    # In production style: no debugger page may ever answer a request.
    app.debug = False
    guard_requests(app, loopback=welcome.loopback)
    mask_answers(app)
    if welcome.login is not None:
        require_login(web_ui, welcome.login)
    locked = web_ui.auth_required_if_enabled
    app.view_functions["locust.swarm"] = locked(swarm)
    app.view_functions["locust.stop"] = locked(stop)
    _extend_form(web_ui, welcome, board)

    @app.route("/rushhour")
    @locked
    def live() -> Response:
        page = make_response(render_template_string(_text("live.html.j2")))
        page.headers["Content-Security-Policy"] = POLICY
        return page

    @app.route("/rushhour/state")
    @locked
    def state() -> Response:
        run = request.args.get("run")
        if run is None:
            return jsonify(asdict(board.view))
        return jsonify(board.since(run, request.args.get("from", 0, type=int)))

    @app.route("/rushhour/bar")
    @locked
    def bar() -> Response:
        return jsonify(bar_of(board.view))

    @app.route("/rushhour/scenarios")
    @locked
    def scenarios() -> Response:
        return jsonify(form_numbers(welcome))

    @app.route("/rushhour/<any('theme.js', 'live.js', 'bar.js', 'live.css', 'plotly.js'):name>")
    @locked
    def part(name: str) -> Response:
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        answer = Response(_part(name), mimetype=kind)
        answer.cache_control.max_age = 3600 if name == "plotly.js" else 0
        return answer

    @app.route("/rushhour/runs/<run>/<path:name>")
    @locked
    def file(run: str, name: str) -> Response:
        if run not in {run.name for run in board.view.runs}:  # of this session alone
            abort(404)
        return _file_of(Path(welcome.runs) / run, name)

    @app.after_request
    def extend(answer: Response) -> Response:
        if request.endpoint == "locust.request_stats" and answer.is_json and answer.status_code == 200:
            runner = web_ui.environment.runner
            extra: dict[str, object] = {"extended_stats": tables(board.view)}
            if runner is not None:  # Locust's answer may be two seconds old
                extra |= {"state": shown_state(runner.state, board.view.phase)}
            answer.set_data(app.json.dumps((answer.get_json() or {}) | extra))
        elif request.endpoint == "locust.index" and answer.mimetype == "text/html":
            answer.set_data(answer.get_data(as_text=True).replace("</body>", f"{BAR}</body>"))
        return answer


def _file_of(run: Path, name: str) -> Response:
    """A file of a run. The service may put links into its folders; those that lead out are not followed."""
    inside = safe_join(str(run), name)
    try:
        path = Path(inside or "").resolve()
        if inside is None or not path.is_relative_to(run.resolve()):
            abort(404)
        if LOGS in path.relative_to(run.resolve()).parts[:1]:
            return Response(masked_lines(path), mimetype="text/plain")
        return send_file(open_to_read(path), download_name=path.name)
    except (OSError, RuntimeError, ValueError):  # not there, not a file, links in a circle, a NUL in the name
        abort(404)


def _extend_form(web_ui: WebUI, welcome: Welcome, board: Board) -> None:
    """Locust fills its form anew for each page: then with the numbers of the scenario that is asked for."""
    own = web_ui.update_template_args

    def update_template_args() -> None:
        own()
        web_ui.template_args |= form_values(welcome, request.args.get("scenario"))
        state = shown_state(str(web_ui.template_args["state"]), board.view.phase)
        if board.view.scenario:  # a page that is loaded before the first run shows the form, whatever goes on
            web_ui.template_args["state"] = state

    web_ui.template_args |= {"extended_tabs": TABS, "extended_tables": TABLES}
    web_ui.update_template_args = update_template_args  # type: ignore[method-assign]


@functools.cache
def _part(name: str) -> str:
    if name == "plotly.js":
        return str(get_plotlyjs())
    if name == "theme.js":
        return asset(name)
    if name == "live.css":
        return asset("report.css") + _text(name)
    return _text(name)


def _text(name: str) -> str:
    return (importlib.resources.files("rushhour.jobs.webui") / "templates" / name).read_text(encoding="utf-8")
