"""What `rushhour traffic` writes: a locustfile that walks as the log's customers did, a scenario, pages."""

import html
import json
import random
import runpy
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rushhour.cli import cli
from rushhour.errors import UsageError
from rushhour.jobs.traffic.build import Asked
from rushhour.jobs.traffic.compare import compare
from rushhour.jobs.traffic.locustfile import customers_file
from rushhour.jobs.traffic.model import TrafficModel, read_model, to_json
from rushhour.jobs.traffic.outputs import Outputs, write_comparison, write_outputs
from rushhour.jobs.traffic.page import comparison_page, model_page
from rushhour.jobs.traffic.progress import in_words
from rushhour.jobs.traffic.record import Logged, Progress
from rushhour.jobs.traffic.scenario_text import ScenarioAsked, new_file, scenario_lines, write_into
from rushhour.jobs.traffic.service import Given, Service, bodies_of, service_of
from rushhour.scenario.arrivals import expected
from rushhour.scenario.file import load_scenarios
from tests.unit.traffic_samples import ROUTES, START, logged, modelled, shop_visits

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model() -> TrafficModel:
    return modelled(shop_visits(), Asked(routes=ROUTES))


class Stopped(Exception):  # noqa: N818  # stands for Locust's StopUser
    """The customer leaves."""


def played(model: TrafficModel, folder: Path, bodies: dict[str, Any], requests: int) -> list[dict[str, Any]]:
    """Requests of one customer of customers.py after another, on a clock that does not wait."""
    file = folder / "customers.py"
    file.write_text(customers_file(model, bodies), encoding="utf-8")
    sent: list[dict[str, Any]] = []
    locust = types.ModuleType("locust")
    locust.FastHttpUser = object  # type: ignore[attr-defined]
    on_start = types.SimpleNamespace(add_listener=lambda function: function)
    locust.events = types.SimpleNamespace(test_start=on_start)  # type: ignore[attr-defined]
    exceptions = types.ModuleType("locust.exception")
    exceptions.StopUser = Stopped  # type: ignore[attr-defined]
    locust.task = lambda function: function  # type: ignore[attr-defined]
    gevent = types.ModuleType("gevent")
    gevent.spawn = lambda function, name: function(name)  # type: ignore[attr-defined]
    gevent.joinall = lambda spawned: None  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        for name, module in (("locust", locust), ("locust.exception", exceptions), ("gevent", gevent)):
            patch.setitem(sys.modules, name, module)
        names = runpy.run_path(str(file))
    clock = {"t": 0.0}

    class Client:
        def request(self, method: str, path: str, **given: Any) -> None:
            sent.append({"t": clock["t"], "method": method, "path": path, **given})

    while len(sent) < requests:
        customer = names["Customer"]()
        customer.client, customer.wait = Client(), lambda: None
        customer.on_start()
        try:
            while len(sent) < requests:
                customer.step()
                clock["t"] += customer.wait_time()
        except Stopped:
            continue
    return sent


def test_the_locustfile_walks_as_the_customers_of_the_log(model: TrafficModel, tmp_path: Path) -> None:
    sent = played(model, tmp_path, {"POST /login": {"customer_id": 1}}, 20_000)
    requests = [
        logged(one["t"], one["path"], one["headers"]["User-Agent"], method=one["method"], seconds=0.0)
        for one in sent
    ]
    again = modelled(requests, Asked(routes=ROUTES))
    for row in compare(model, again).rows:
        if row.kind in ("mix", "think"):
            assert row.ok, (row.what, row.difference)
    assert again.session_s == pytest.approx(model.session_s, rel=0.05)


def test_a_customer_keeps_its_values_within_a_session(model: TrafficModel, tmp_path: Path) -> None:
    sent = played(model, tmp_path, {"POST /login": {"customer_id": 1}}, 500)
    by_session: dict[str, set[str]] = {}
    for one in sent:
        session = by_session.setdefault(one["headers"]["User-Agent"], set())
        if one["path"].startswith("/customers/"):
            session.add(one["path"].split("/")[2])
        elif one["path"] == "/login":
            session.add(str(one["json"]["customer_id"]))
    assert {len(values) for values in by_session.values()} <= {0, 1}  # who was there already may ask for none


def test_values_come_from_a_file_where_there_is_one(model: TrafficModel, tmp_path: Path) -> None:
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "customer_id.txt").write_text("first\nsecond\n", encoding="utf-8")
    sent = played(model, tmp_path, {}, 2_000)
    drawn = Counter(one["path"].split("/")[2] for one in sent if one["path"].startswith("/customers/"))
    assert set(drawn) == {"first", "second"}
    assert drawn["first"] > drawn["second"]


def test_parallel_requests_of_a_page_are_sent_together(tmp_path: Path) -> None:
    requests = []
    for at in range(200):
        start, visitor = at * 3.0, f"visitor {at}"
        requests += [
            logged(start, "/page", visitor, seconds=0.4),
            logged(start + 0.1, "/cart", visitor, seconds=0.5),
            logged(start + 0.12, "/user", visitor, seconds=0.2),
            logged(start + 8.0, "/page", visitor, seconds=0.4),
        ]
    sent = played(modelled(requests), tmp_path, {}, 300)
    followers = [one for one in sent if one["path"] == "/user"]
    carts = {one["t"] for one in sent if one["path"] == "/cart"}
    assert followers
    assert all(one["t"] in carts for one in followers)


def test_stock_locust_takes_the_locustfile(model: TrafficModel, tmp_path: Path) -> None:
    file = tmp_path / "customers.py"
    file.write_text(customers_file(model, {}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(file), "--list"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert "Customer" in done.stdout + done.stderr, done.stderr


def test_the_model_is_read_back_as_it_was_written(model: TrafficModel, tmp_path: Path) -> None:
    path = tmp_path / "traffic.json"
    path.write_text(to_json(model), encoding="utf-8")
    assert to_json(read_model(path)) == to_json(model)
    path.write_text('{"version": 1}', encoding="utf-8")
    with pytest.raises(UsageError, match=r"no traffic\.json of this version"):
        read_model(path)


def test_the_same_log_gives_the_same_files(model: TrafficModel) -> None:
    again = modelled(shop_visits(), Asked(routes=ROUTES))
    assert to_json(again) == to_json(model)
    assert customers_file(again, {}) == customers_file(model, {})
    assert model_page(again) == model_page(model)


def test_a_customer_leaves_after_a_session_where_arrivals_are_open(
    model: TrafficModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUSHHOUR_ONE_SESSION", "yes")
    sent = played(model, tmp_path, {}, 2_000)
    agents = [one["headers"]["User-Agent"] for one in sent]
    assert len(set(agents)) == 1 + sum(before != after for before, after in pairwise(agents))
    assert len(set(agents)) > 100


def test_the_scenario_has_the_arrivals_of_the_peak_times_the_scale(
    model: TrafficModel, tmp_path: Path
) -> None:
    rate = model.arrivals.peak.sessions_per_minute
    assert model.users is not None
    assert rate is not None
    for scale in (1.0, 2.0):
        (tmp_path / "customers.py").touch()
        path = tmp_path / "scenarios.yaml"
        path.write_text(new_file(model, ScenarioAsked("evening-peak", scale), None), encoding="utf-8")
        points = load_scenarios(path).scenarios["evening-peak"].load.arrivals
        assert points is not None
        assert points[-1].per_s == pytest.approx(scale * rate / 60, rel=0.001)
        assert points[0].per_s * points[1].at_s == pytest.approx(scale * model.users, rel=0.01)


def test_the_curve_of_a_short_log_is_played_again(tmp_path: Path) -> None:
    requests = [*shop_visits(lasts_s=60, per_s=1), *_later(shop_visits(lasts_s=60, per_s=6, seed=2), 60)]
    short = modelled(requests, Asked(routes=ROUTES))
    assert short.replayed
    (tmp_path / "customers.py").touch()
    path = tmp_path / "scenarios.yaml"
    path.write_text(new_file(short, ScenarioAsked("evening-peak"), None), encoding="utf-8")
    load = load_scenarios(path).scenarios["evening-peak"].load
    assert load.arrivals is not None
    begun = expected(load.arrivals, load.duration)
    assert begun == pytest.approx(short.arrivals.sessions, rel=0.1)
    assert load.arrivals[-1].per_s > 2 * load.arrivals[0].per_s
    assert "\nFILL_S = 0\n" in customers_file(short, {})


def test_a_part_from_the_midst_of_a_log_starts_with_those_who_were_there(tmp_path: Path) -> None:
    part = modelled(shop_visits(lasts_s=900, per_s=4), Asked(routes=ROUTES, since=START + 500))
    assert part.replayed
    assert part.arrivals.carried == pytest.approx(part.arrivals.mean_concurrency, rel=0.2)
    (tmp_path / "customers.py").touch()
    path = tmp_path / "scenarios.yaml"
    path.write_text(new_file(part, ScenarioAsked("evening-peak"), None), encoding="utf-8")
    points = load_scenarios(path).scenarios["evening-peak"].load.arrivals
    assert points is not None
    assert expected(points, 10.0) == pytest.approx(part.arrivals.carried + 40, rel=0.3)
    assert "\nFILL_S = 10\n" in customers_file(part, {})


def _later(requests: Iterable[Logged], by_s: float) -> list[Logged]:
    return [one._replace(t=one.t + by_s, visitor=f"later {one.visitor}") for one in requests]


def test_a_closed_scenario_has_the_customers_who_are_present(model: TrafficModel) -> None:
    assert model.users is not None
    lines = "\n".join(scenario_lines(model, ScenarioAsked("evening-peak", 2.0, closed=True), "customers.py"))
    assert f"users: {round(2 * model.users)} " in lines


def test_a_scenario_file_of_its_own_is_valid(model: TrafficModel, tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    (tmp_path / "customers.py").touch()
    path.write_text(new_file(model, ScenarioAsked("evening-peak"), None), encoding="utf-8")
    assert list(load_scenarios(path).scenarios) == ["evening-peak"]


def test_a_scenario_is_added_to_a_file_and_nothing_else_changes(model: TrafficModel, tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    for name in ("locustfiles", "app"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "traffic").mkdir()
    (tmp_path / "traffic" / "customers.py").touch()
    before = (ROOT / "scenarios.yaml").read_text(encoding="utf-8")
    path.write_text(before, encoding="utf-8")
    lines = scenario_lines(model, ScenarioAsked("evening-peak", extends="gate"), "traffic/customers.py")
    write_into(path, lines, "evening-peak", force=False)
    after = path.read_text(encoding="utf-8")
    block = "".join(f"  {line}\n" for line in lines)
    assert after.replace(f"\n{block}", "", 1) == before
    assert load_scenarios(path).scenarios["evening-peak"].load.locustfile == "traffic/customers.py"
    with pytest.raises(UsageError, match="is there already"):
        write_into(path, lines, "evening-peak", force=False)
    write_into(path, lines, "evening-peak", force=True)
    assert path.read_text(encoding="utf-8") == after


@pytest.mark.parametrize("end", ["", "\n", "\n\n# the end\n", "\nsuites:\n  all: [a]\n"])
def test_a_scenario_is_added_wherever_the_block_ends(model: TrafficModel, tmp_path: Path, end: str) -> None:
    path = tmp_path / "scenarios.yaml"
    (tmp_path / "customers.py").touch()
    head = "service: { name: shop, command: 'serve {port}' }\ndefaults: { thresholds: [http_5xx == 0] }\n"
    load = "{ users: 1, duration: 19s, locustfile: customers.py }"
    text = f"{head}scenarios:\n    a:\n        expect: healthy\n        load: {load}{end}"
    path.write_text(text, encoding="utf-8")
    write_into(path, scenario_lines(model, ScenarioAsked("b"), "customers.py"), "b", force=False)
    found = load_scenarios(path)
    assert list(found.scenarios) == ["a", "b"]
    assert end.strip() in path.read_text(encoding="utf-8")


def test_a_scenario_that_does_not_fit_leaves_the_file_as_it_was(model: TrafficModel, tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    text = "service: { name: shop, command: sleep 1 }\nscenarios: { a: { expect: healthy } }\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="add this by hand"):
        write_into(path, scenario_lines(model, ScenarioAsked("b"), "c.py"), "b", force=False)
    assert path.read_text(encoding="utf-8") == text


def test_routes_and_bodies_come_from_the_scenario_file() -> None:
    service = service_of(Given(scenarios=ROOT / "scenarios.yaml", extends="gate"))
    assert "POST /login" in {f"{route.method} {route.path}" for route in service.routes}
    requests = [
        logged(at * 1.0, path, f"visitor {at % 9}", method="POST")
        for at in range(100)
        for path in ("/login", "/customers/7/referrals")
    ]
    bodies = bodies_of(service.target, modelled(requests, Asked(routes=service.routes)))
    assert bodies["POST /login"] == {"customer_id": 1}
    assert set(bodies) == {"POST /login", "POST /customers/:id/referrals"}


def test_the_pages_fetch_nothing(model: TrafficModel) -> None:
    for page in (model_page(model), comparison_page(compare(model, model), model, model)):
        assert "default-src 'none'" in html.unescape(page)
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert "https://" not in page


def test_a_model_compared_with_itself_is_near_and_a_figure_that_is_missing_is_unknown(
    model: TrafficModel,
) -> None:
    alone = modelled([logged(float(t), "/login", method="POST") for t in range(600)], Asked(routes=ROUTES))
    assert {row.ok for row in compare(model, model).rows if row.kind != "sessions"} == {True}
    assert compare(model, model, scale=2.0).outcome == "far"
    rows = {row.kind: row for row in compare(alone, alone).rows}
    assert rows["sessions"].ok is None
    assert compare(alone, alone).outcome == "unknown"


def test_a_median_that_whole_seconds_do_not_resolve_is_not_compared() -> None:
    short = modelled(shop_visits(think_s=3.0), Asked(routes=ROUTES), 1.0)
    fine = modelled(shop_visits(think_s=3.0), Asked(routes=ROUTES))
    assert not [row for row in compare(short, short).rows if row.kind == "think"]
    assert len([row for row in compare(fine, fine).rows if row.kind == "think"]) == 3


def test_the_progress_has_rate_and_time_left() -> None:
    words = in_words(Progress(lines=2_000_000, bytes_done=50, bytes_total=100, elapsed_s=10.0))
    assert words == "reading: 2.0 M lines, 200,000 lines/s, 50% done, 10 s left"
    assert "left" not in in_words(Progress(lines=1_000, bytes_done=50, bytes_total=None, elapsed_s=1.0))


def combined(path: Path, lasts_s: float = 300.0) -> None:
    rng = random.Random(7)  # noqa: S311  # no secret
    lines: list[str] = []
    for one in sorted(shop_visits(lasts_s=lasts_s), key=lambda each: each.t):
        second = int(one.t - START)
        stamp = f"24/Nov/2026:18:{second // 60:02}:{second % 60:02} +0000"
        address = f"192.0.2.{rng.randrange(1, 255)}" if not lines else "192.0.2.1"
        lines.append(
            f'{address} - - [{stamp}] "{one.method} {one.path} HTTP/1.1" 200 9 "-" "app {one.visitor}"'
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(*arguments: str) -> tuple[Any, str]:
    done = CliRunner().invoke(cli, ["traffic", *arguments], standalone_mode=False)
    return done, str(done.exception or "")


def test_the_command_writes_its_files_and_replaces_none(tmp_path: Path, capsys: Any) -> None:
    log, out = tmp_path / "access.log", tmp_path / "out"
    combined(log)
    done, _ = run(str(log), "--out", str(out))
    assert done.return_value == 0
    assert {path.name for path in out.iterdir()} == {
        "customers.py",
        "scenarios.yaml",
        "traffic.html",
        "traffic.json",
    }
    _, said = run(str(log), "--out", str(out))
    assert "--force replaces it" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--session", "shoe"], "--session shoe: unknown"),
        (["--timezone", "Nowhere/At_All"], "--timezone Nowhere/At_All: unknown"),
        (["--field", "path"], "must be NAME=KEY"),
        (["--scale", "0"], "is not above 0"),
        (["--extends", "gate"], "--extends needs --scenarios"),
        (["--compare"], "--compare takes the source, then the run"),
        (["--from", "2026-11-24T18:00Z", "--until", "2026-11-24T17:00Z"], "--until is not later than --from"),
        (["--name", "two words"], "is no name of a scenario"),
    ],
)
def test_a_wrong_option_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    log = tmp_path / "access.log"
    combined(log, 60)
    _, found = run(str(log), "--out", str(tmp_path / "out"), *arguments)
    assert said in found
    assert not (tmp_path / "out").exists()


def test_a_file_without_a_request_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(random.Random(1).randbytes(5_000))  # noqa: S311  # no secret
    done, said = run(str(log), "--out", str(tmp_path / "out"))
    assert isinstance(done.exception, UsageError), said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("requests", "files", "said"),
    [
        ([logged(float(t), "/cart") for t in range(600)], set(), "of one visitor"),
        ([logged(t / 99, "/cart", f"v{t}") for t in range(99)], set(), "no visitor sent a second request"),
        (
            [logged(t + at, "/cart", f"v{t % 9}") for t in range(9) for at in (0.0, 5.0)],
            {"customers.py"},
            "the log spans 13 s; they need 30 s",
        ),
    ],
    ids=["one client", "one second", "some seconds"],
)
def test_what_cannot_be_modelled_is_not_written_and_said(
    tmp_path: Path, requests: list[Logged], files: set[str], said: str
) -> None:
    lines = write_outputs(
        modelled(requests), Service(), ScenarioAsked("evening-peak"), Outputs(tmp_path / "out"), None
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"traffic.json", "traffic.html", *files}
    assert said in " ".join(lines)


def test_a_comparison_is_written_as_data(tmp_path: Path, model: TrafficModel) -> None:
    write_comparison(compare(model, model), model, model, Outputs(tmp_path))
    rows = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))["rows"]
    assert {row["kind"] for row in rows} == {"mix", "sessions", "think", "concurrency"}
