"""Keeps other sites from asking the page for anything, and its answers from being framed or guessed at."""

from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, make_response, request

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
