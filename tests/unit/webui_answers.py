"""`python -m tests.unit.webui_answers RUNS`: every answer of the web UI, with a secret wherever one can be.

Its last line is a JSON object: the path of each route, and files of a run, with their status and text.
Locust patches the interpreter on import, so this is a process of its own.
"""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

SECRET = "hunter2hunter2"
RUN = "20250101T180000Z-gate"
WORDS = (
    f"no connection: postgresql://app:{SECRET}@db/shop, password={SECRET}, Authorization: {SECRET}, "
    f"gunicorn --db-password {SECRET} app:app, RUSHHOUR_AGENT_TOKEN={SECRET}, redis://:{SECRET}@cache"
)


def answers(runs: Path) -> dict[str, tuple[int, str]]:
    os.environ["SHOP_API_TOKEN"] = SECRET
    from locust import HttpUser, argument_parser, events, task  # noqa: PLC0415 - it patches the interpreter
    from locust.env import Environment  # noqa: PLC0415
    from locust.log import setup_logging  # noqa: PLC0415

    from rushhour.jobs.webui.board import Board  # noqa: PLC0415
    from rushhour.jobs.webui.messages import Choice, Judged, View, Welcome  # noqa: PLC0415
    from rushhour.jobs.webui.pages import add_pages  # noqa: PLC0415
    from rushhour.observe.live_state import HolderGauge, LiveState, PoolGauge  # noqa: PLC0415

    @events.init_command_line_parser.add_listener
    def _(parser: Any) -> None:
        parser.add_argument("--shop-api-token", env_var="SHOP_API_TOKEN", default="")
        parser.add_argument("--shop-db", default=f"postgresql://app:{SECRET}@db/shop")

    class Customer(HttpUser):
        host = f"http://u:{SECRET}@127.0.0.1"

        @task
        def look(self) -> None:
            """Nothing is sent here."""

    setup_logging("INFO")
    logging.getLogger("shop").warning(WORDS)
    options = argument_parser.parse_options(["--headless"])
    environment = Environment(
        user_classes=[Customer], host=f"http://u:{SECRET}@127.0.0.1", parsed_options=options, events=events
    )
    environment.available_user_classes = {"Customer": Customer}  # type: ignore[dict-item]  # Locust's own type is wrong
    runner = environment.create_local_runner()
    runner.log_exception("local", WORDS, f"Traceback: DB_PASSWORD={SECRET}")
    runner.stats.log_request("GET", f"/reset?token={SECRET}", 3, 5)
    runner.stats.log_error("GET", f"/reset?token={SECRET}", WORDS)
    web_ui = environment.create_web_ui("127.0.0.1", 0, delayed_start=True)
    state = LiveState(
        elapsed_s=1.0,
        users=1,
        pools=(PoolGauge("replica", 3, 3, 9, 3, 27),),
        holders=(
            HolderGauge("replica", f"app/x.py:27 token={SECRET}", f"GET /?token={SECRET}", 3, 3, 4.6, 3, 1.0),
        ),
        cpu_cores={},
    )
    board = Board()
    board.show(
        View("running", WORDS, run=RUN, state=state, runs=(Judged(RUN, "gate", "1.0", "unknown", WORDS),))
    )
    choice = Choice("gate", "1.0", 3, 1.0, 5.0)
    welcome = Welcome((choice,), "gate", ("1.0",), None, str(runs), loopback=True)

    def refused() -> object:
        from flask import jsonify  # noqa: PLC0415

        return jsonify(success=False, message=WORDS, host=environment.host)

    add_pages(web_ui, board, welcome, swarm=refused, stop=refused)  # type: ignore[arg-type]
    app: Any = web_ui.app
    client = app.test_client()
    found: dict[str, tuple[int, str]] = {}
    asked = [("POST", "/swarm"), ("GET", "/stop"), ("POST", "/stop"), ("POST", "/user")]
    asked += [
        ("GET", str(rule))
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and not rule.arguments
    ]
    asked += [("GET", f"/rushhour/state?run={RUN}&from=0"), ("GET", "/no-such-page")]
    asked += [
        ("GET", f"/rushhour/runs/{RUN}/{path.relative_to(runs / RUN)}")
        for path in sorted((runs / RUN).rglob("*"))
    ]
    for method, path in asked:
        answer = client.open(path, method=method, base_url="http://127.0.0.1:8089")
        found[f"{method} {path}"] = (answer.status_code, answer.get_data(as_text=True))
    return found


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(answers(Path(sys.argv[1])))}\n")
    sys.stdout.flush()
    os._exit(0)  # Locust's greenlets would keep the process
