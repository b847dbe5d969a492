"""The web UI's pure parts: its form, its log-in, its messages, its tables, its points."""

from dataclasses import replace
from pathlib import Path

import pytest

from rushhour.jobs.webui.asked import asked_for, choice, run_problems
from rushhour.jobs.webui.board import Board, bar_of, shown_state
from rushhour.jobs.webui.form import FormError, form_numbers, form_values, read_ask
from rushhour.jobs.webui.login import PASSWORD, USER, address_problems, matches, read_login
from rushhour.jobs.webui.messages import Ask, Choice, Judged, Login, View, Welcome, decode, encode
from rushhour.jobs.webui.tables import tables
from rushhour.observe.live import LiveFold
from rushhour.observe.live_state import HolderGauge, LiveState, PoolGauge
from rushhour.rundir import facts as f
from rushhour.scenario.arrivals import RatePoint
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.settings import parse_setting, with_settings

ROOT = Path(__file__).parents[2]
WELCOME = Welcome(
    choices=(Choice("gate", "1.1", 800, 40.0, 75.0), Choice("staging", "1.1", 10, 5.0, 30.0)),
    chosen="gate",
    releases=("1.0", "1.1"),
    login=None,
    runs="/runs",
    loopback=True,
)
STATE = LiveState(
    elapsed_s=3.2,
    users=9,
    pools=(PoolGauge("replica", 3, 3, 9, 3, 27),),
    holders=(HolderGauge("replica", "app/x.py:27 f", "GET /x", 3, 3, 4.6, 3, 13.6),),
    cpu_cores={"primary": 0.1, "machine": 1.0},
)
RUNNING = View("running", "w", run="r1", state=STATE, runs=(Judged("r0", "gate", "1.0", "pass", "fine"),))


def test_the_form_of_a_scenario_shows_its_own_numbers() -> None:
    values = form_values(WELCOME, "staging")
    assert (values["num_users"], values["spawn_rate"], values["run_time"]) == (10, 5.0, "30s")
    assert values["extra_options"]["scenario"]["default_value"] == "staging"
    assert form_values(WELCOME, "no such")["num_users"] == 800


def test_what_the_form_says_replaces_the_scenarios_numbers() -> None:
    form = {"scenario": "staging", "release": "1.0", "user_count": "7", "spawn_rate": "2.5", "host": ""}
    assert read_ask(form, WELCOME, {""}) == Ask("staging", "1.0", 7, 2.5, None)
    assert read_ask(form | {"run_time": "1m5s"}, WELCOME, {""}).run_time_s == 65
    assert read_ask(form | {"run_time": "20"}, WELCOME, {""}).run_time_s == 20


def test_every_problem_of_a_form_is_reported_at_once() -> None:
    form = {
        "scenario": "x",
        "release": "9",
        "user_count": "1.5",
        "spawn_rate": "-1",
        "run_time": "soon",
        "host": "http://prod",
    }
    with pytest.raises(FormError) as caught:
        read_ask(form, WELCOME, {""})
    told = str(caught.value)
    assert all(
        one in told for one in ("'x'", "'9'", "1.5 users", "'-1'", "run time: 'soon'", "http://prod is not")
    )


@pytest.mark.parametrize("field", ["user_count", "spawn_rate"])
def test_the_form_refuses_more_customers_than_a_scenario_may_have(field: str) -> None:
    assert read_ask({field: "1000000000", "host": ""}, WELCOME, {""})
    with pytest.raises(FormError, match="'1e10' is not a number above 0, and at most 1,000,000,000"):
        read_ask({field: "1e10", "host": ""}, WELCOME, {""})


def test_the_form_may_not_ask_for_more_than_the_machine_can_carry() -> None:
    gate = load_scenarios(ROOT / "scenarios.yaml").scenarios["gate"]
    assert run_problems(asked_for(gate, Ask("gate", "1.1", 800, 40.0, None))) == []
    problems = run_problems(asked_for(gate, Ask("gate", "1.1", 900_000_000, 40.0, None)))
    assert any("900,000,000 customers" in problem and "MB are available" in problem for problem in problems)


def test_messages_come_back_as_they_were() -> None:
    for message in (WELCOME, RUNNING, Ask("gate", "1.1", 1, 2.0, None)):
        assert decode(encode(message)) == message


def test_the_tables_show_pools_holders_and_verdicts() -> None:
    pools, holders, runs = (table["data"] for table in tables(RUNNING))
    assert pools[0] | {} == {
        "name": "replica",
        "used": 3,
        "capacity": 3,
        "share": "100 %",
        "waiters": 9,
        "leaked": 3,
        "timeouts": 27,
    }
    assert (holders[0]["name"], holders[0]["leaked"]) == ("app/x.py:27 f", 3)
    assert runs[0]["verdict"] == "pass"


def test_a_page_gets_the_points_it_lacks_and_all_of_a_new_run() -> None:
    board = Board()
    board.show(RUNNING)
    board.show(replace(RUNNING, state=replace(STATE, elapsed_s=4.2)))
    assert [one["t"] for one in board.since("r1", 1)["points"]] == [4.2]
    fresh = board.since("r0", 17)
    assert (fresh["fresh"], fresh["next"], len(fresh["points"])) == (True, 2, 2)
    board.show(replace(RUNNING, run="r2"))
    assert len(board.since("r2", 0)["points"]) == 1


def test_the_page_goes_on_asking_until_the_run_is_judged() -> None:
    assert [
        shown_state(one, "running") for one in ("ready", "spawning", "running", "cleanup", "stopped")
    ] == [
        "spawning",
        "spawning",
        "running",
        "running",
        "running",
    ]
    assert shown_state("ready", "ready") == "ready"
    assert [shown_state("stopped", phase) for phase in ("preparing", "draining", "judging", "ready")] == [
        "spawning",
        "running",
        "running",
        "stopped",
    ]


def test_the_bar_gets_no_more_than_it_shows() -> None:
    row = Judged("one", "gate", "1.1", "fail", "the pool ran out")
    assert bar_of(View("ready", "ready")) == {"phase": "ready", "words": "ready", "last": None}
    told = bar_of(View("ready", "ready", runs=(row, Judged("two", "gate", "1.0", "pass", "held"))))
    assert told["last"]["name"] == "one"


def test_the_form_gets_the_numbers_of_every_scenario_by_its_own_names() -> None:
    assert form_numbers(WELCOME)["staging"] == {
        "userCount": 10,
        "spawnRate": 5.0,
        "runTime": "30s",
        "release": "1.1",
    }


def test_a_login_leaves_the_environment_and_needs_both_parts() -> None:
    environment = {USER: "ops", PASSWORD: "long enough"}
    login, problems = read_login(None, environment)
    assert (login, problems, environment) == (Login("ops", "long enough"), [], {USER: "ops"})
    assert "long enough" not in repr(login)
    assert "set RUSHHOUR_UI_USER" in read_login(None, {})[1][0]
    assert "5 characters" in read_login(None, {USER: "ops", PASSWORD: "short"})[1][0]


def test_a_login_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text("ops:pass:word\n")
    file.chmod(0o644)
    assert "chmod 600" in read_login(file, {})[1][0]
    file.chmod(0o600)
    assert read_login(file, {})[0] == Login("ops", "pass:word")


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"username": "ops", "password": "long enough"}, True),
        ({"username": "ops", "password": "long enougH"}, False),
        ({"username": "opsy", "password": "long enough"}, False),
        ({}, False),
    ],
)
def test_only_user_and_password_together_open_the_page(given: dict[str, str], right: bool) -> None:
    assert matches(Login("ops", "long enough"), given) is right


def test_other_machines_reach_the_page_only_by_name_and_login() -> None:
    assert address_problems("127.0.0.1", None, login=False) == []
    assert len(address_problems("10.0.0.5", None, login=False)) == 2
    assert address_problems("10.0.0.5", "10.0.0.5", login=True) == []


def test_holders_are_live_and_the_leaking_line_comes_first() -> None:
    fold, site = LiveFold(), f.CallSite("app/x.py", 27, "f")
    out = f.CheckOut(2.0, 1, 5, "replica", site, (), "GET /x", "t", None, taken_s=1.0, request_ended_s=1.5)
    fold.feed([out, f.SiteTotal(2.0, 1, "primary", f.CallSite("app/y.py", 3, "g"), None, 40, 9.0, 0.2)])
    first, second = fold.state(4.0).holders
    assert (first.site, first.out, first.leaked, first.oldest_s) == ("app/x.py:27 f", 1, 1, 3.0)
    assert (second.site, second.out, second.held_s) == ("app/y.py:3 g", 0, 9.0)
    fold.feed([replace(out, returned_s=4.5, returned_by="gc")])
    assert [one.site for one in fold.state(5.0).holders] == ["app/y.py:3 g"]


def test_arrivals_are_scaled_to_the_rate_of_the_form_and_stretched_over_its_run_time() -> None:
    gate = load_scenarios(ROOT / "scenarios.yaml").scenarios["gate"]
    scenario = with_settings(gate, [parse_setting("load.arrivals=[[0s, 10/s], [60s, 40/s]]")])
    shown = choice(scenario)
    assert (shown.arrivals, shown.spawn_rate) == (True, 40.0)
    made = asked_for(scenario, Ask("gate", "1.1", 7, 80.0, 150.0))
    assert (made.load.users, made.load.duration) == (None, 150.0)
    assert made.load.arrivals == (RatePoint(0.0, 20.0), RatePoint(120.0, 80.0))
    assert run_problems(made) == []


def test_the_form_says_what_its_numbers_mean_for_arrivals() -> None:
    select = form_values(WELCOME, None)["extra_options"]["scenario"]
    assert select["help_text"] is None
    choices = (*WELCOME.choices, Choice("open", "1.1", 1, 40.0, 75.0, arrivals=True))
    select = form_values(replace(WELCOME, choices=choices), None)["extra_options"]["scenario"]
    assert "(open) customers arrive and leave: Ramp up is their highest rate" in select["help_text"]
