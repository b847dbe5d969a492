"""`target:` in a scenario: a service of the user's own, and what is told about a wrong one."""

from pathlib import Path

import pytest

from rushhour.errors import UsageError
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Scenario
from rushhour.stack.at_url import in_words
from rushhour.stack.open import needs_embedded
from rushhour.stack.own_service import with_scheme
from rushhour.stack.processes.service import placeholders, service_command, service_environment

GOOD = """\
defaults:
  target:
    command: "gunicorn shop:app --bind {host}:{port}"
    python: .venv/bin/python
    health: /health
    setup: "{python} -m flask db upgrade"
    environment: { DATABASE_URL: "{primary_url}" }
  load: { users: 20, duration: 20s, locustfile: users.py }
  thresholds: [queuepool_timeouts == 0]
scenarios:
  evening: { expect: healthy }
  by-path:
    target: { app: "shop:create_app('x')" }
    expect: healthy
  running:
    target: { url: "http://127.0.0.1:8000" }
    thresholds: [p95 < 1s, queuepool_timeouts == 0]
    expect: healthy
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users.py").touch()
    return tmp_path


def load(folder: Path, text: str) -> dict[str, Scenario]:
    path = folder / "scenarios.yaml"
    path.write_text(text)
    return dict(load_scenarios(path).scenarios)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(folder, text)
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


def values_of(scenario: Scenario) -> dict[str, str]:
    return placeholders(scenario, 8000, "postgresql://primary", "postgresql://replica", Path("/logs"))


def test_a_file_of_targets_needs_no_service_block(folder: Path) -> None:
    scenario = load(folder, GOOD)["evening"]
    assert (scenario.target.name, scenario.target.root) == ("evening", str(folder))
    assert (scenario.release, scenario.agent) == ("current", True)
    assert needs_embedded(scenario)
    values = values_of(scenario)
    assert service_command(scenario, values) == ["gunicorn", "shop:app", "--bind", "127.0.0.1:8000"]
    environment = service_environment(scenario, values, {"PATH": "/usr/bin"})
    assert environment["DATABASE_URL"] == "postgresql://primary"
    assert environment["PATH"].startswith(f"{folder}/.venv/bin:")  # its own gunicorn is found first


def test_an_import_path_is_served_by_the_services_own_gunicorn(folder: Path) -> None:
    scenario = load(folder, GOOD)["by-path"]
    command = service_command(scenario, values_of(scenario))
    assert command[:4] == [f"{folder}/.venv/bin/python", "-m", "gunicorn", "shop:create_app('x')"]
    assert command[command.index("--threads") + 1] == "64"


def test_a_url_is_a_black_box(folder: Path) -> None:
    assert load(folder, GOOD)["running"].agent is False


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'command: "gunicorn shop:app --bind {host}:{port}"',
            "workdir: /srv",
            "scenarios.yaml:3: scenarios.evening.target.workdir: unknown key 'workdir'",
        ),
        (
            "app: \"shop:create_app('x')\"",
            'app: "shop:app", command: "gunicorn shop:app"',
            "needs exactly one of command, app, compose, url, and has command and app",
        ),
        ("health: /health", "health: health", "scenarios.yaml:5: scenarios.evening.target.health: 'health'"),
        ("shop:create_app('x')", "shop", "target.app: 'shop' is no import path; write module:application"),
        ("{ url:", "{ python: python3, url:", "running.target.python: means nothing with `url`"),
        (
            "p95 < 1s",
            "leaked_connections == 0",
            "leaked_connections is seen inside (pools) and a `url` is a black box; use `command`",
        ),
    ],
)
def test_problems_of_a_target_are_reported_with_their_line(
    folder: Path, old: str, new: str, told: str
) -> None:
    assert old in GOOD
    found = problems(folder, GOOD.replace(old, new))
    assert any(told in item for item in found), found


def test_the_drivers_url() -> None:
    url = "postgresql+psycopg2://shop:secret@127.0.0.1:5432/referrals?application_name=shop"
    assert with_scheme(url, "postgresql+psycopg").startswith("postgresql+psycopg://shop:secret@127.0.0.1")
    assert with_scheme(url, "postgresql") == url.replace("+psycopg2", "")
    assert with_scheme(url, "postgresql+asyncpg").endswith(":5432/referrals")


def test_what_a_health_path_answers_in_words() -> None:
    assert in_words(200, None) is None
    assert "HTTP 302 to /login: set `health` to a path that answers 200 by itself" in str(
        in_words(302, "/login")
    )
    assert in_words(404, None) == "HTTP 404: set `health` to a path that the service has"
    assert in_words(503, None) == "HTTP 503"


@pytest.mark.parametrize(
    "given",
    [
        "target: { command: serve --listen {port} }",
        "service: { arguments: --listen {port} }\n    target: { command: serve }",
        "target: { command: serve, environment: { PORT: '{port}' } }",
        "service: { environment: { PORT: '{port}' } }\n    target: { command: serve }",
    ],
)
def test_a_command_without_the_port_is_refused_before_anything_starts(folder: Path, given: str) -> None:
    given = given.replace("serve --listen {port} }", "'serve --listen {port}' }")
    given = given.replace("--listen {port} }", "'--listen {port}' }")
    text = GOOD.replace("{ expect: healthy }", f"\n    expect: healthy\n    {given}", 1)
    assert load(folder, text)["evening"].target.command.startswith("serve")
    (problem,) = problems(folder, text.replace("{port}' }", "8000' }"))
    assert "scenarios.evening.target.command: {port} is missing: rushhour chooses the port" in problem
