"""The Compose stack's pure parts: what is passed to Compose, what is read from the engine, what is chosen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rushhour.errors import StackError
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Postgres, Scenario
from rushhour.stack.choose import Asked, Choice, choose_stack
from rushhour.stack.compose.engine import Engine, engine_url, local_host, numbers
from rushhour.stack.compose.failure import last_probe
from rushhour.stack.compose.files import (
    ImageNames,
    Places,
    Ports,
    cpu_limit,
    generated_file,
    start_period_s,
    variables,
)
from rushhour.stack.compose.image_build import parse_pip_settings, release_digest
from rushhour.stack.compose.images import Image
from rushhour.stack.compose.template import templates_root
from rushhour.stack.compose.watch import Usage
from rushhour.stack.locks import locked
from rushhour.stack.open import StackOptions
from rushhour.stack.owner import owner_variables
from rushhour.stack.postgres.kept import remove_kept

ROOT = Path(__file__).parents[2]
OLD = Engine("unix:///run/engine.sock", "127.0.0.1", "20.10.24", (1, 41), "2.26.1", cpus=4, cgroups="1")
NEW = replace(OLD, version="28.0.1", api=(1, 48), cgroups="2")
IMAGE = Image(
    "rushhour/referrals:1.1", "sha256:abc", "/srv", {"PATH": "/bin", "PYTHONPATH": "/opt/lib"}, None
)
PLACES = Places(
    Path("/stack"), Path("/stack/private"), Path("/run/agent"), Path("/run/logs"), Path("/run/told")
)


@pytest.fixture
def scenario() -> Scenario:
    return load_scenarios(ROOT / "scenarios.yaml").select(["rush-hour"], None)[0]


def test_the_generated_file_carries_the_scenarios_command_and_environment(scenario: Scenario) -> None:
    odd = replace(scenario, service=replace(scenario.service, environment={"GREETING": "5 $ and $HOME"}))
    service = json.loads(generated_file(odd, OLD, IMAGE, "secret"))["services"]["service"]
    assert service["command"][:4] == ["python", "-m", "gunicorn", "app:create_app()"]
    assert "0.0.0.0:8000" in service["command"]
    assert "/rushhour/logs/access.log" in service["command"]
    environment = service["environment"]
    assert environment["REFERRALS_RELEASE"] == "1.1"
    assert environment["REFERRALS_REPLICA_URL"] == (
        "postgresql+psycopg2://referrals:secret@replica:5432/referrals?application_name=referrals"
    )
    assert environment["GREETING"] == "5 $$ and $$HOME"  # Compose reads it as it was written
    assert environment["PYTHONPATH"] == "/rushhour/agent/inject:/opt/lib"  # the image's own stays behind it
    assert environment["RUSHHOUR_AGENT_DIR"] == "/rushhour/pools"


def test_a_probe_never_starts_the_agent(scenario: Scenario) -> None:
    service = json.loads(generated_file(scenario, OLD, IMAGE, "secret"))["services"]["service"]
    assert service["healthcheck"]["test"][:4] == ["CMD", "python", "-I", "-c"]
    assert "http://127.0.0.1:8000/health" in service["healthcheck"]["test"][4]


@pytest.mark.parametrize(("engine", "start_interval", "interval"), [(OLD, None, "2s"), (NEW, "250ms", "10s")])
def test_probes_are_frequent_only_until_healthy_where_the_engine_can(
    scenario: Scenario, engine: Engine, start_interval: str | None, interval: str
) -> None:
    services = json.loads(generated_file(scenario, engine, IMAGE, "secret"))["services"]
    for part in ("primary", "replica", "service"):
        assert services[part].get("healthcheck", {}).get("start_interval") == start_interval
    given = variables(
        "p", scenario, engine, places=PLACES, ports=Ports(1, 2, 3), images=ImageNames("pg", "py", "app:1")
    )
    assert given["RUSHHOUR_PROBE_INTERVAL"] == interval


def test_variables_publish_on_loopback_and_limit_the_replica(scenario: Scenario) -> None:
    limited = replace(scenario, postgres=Postgres(max_connections=70, replica_cores=0.5))
    given = variables(
        "rushhour-1",
        limited,
        OLD,
        places=PLACES,
        ports=Ports(11, 12, 13),
        images=ImageNames("pg", "py", "app:1"),
    )
    assert given["RUSHHOUR_PUBLISH"] == "127.0.0.1"
    assert (given["RUSHHOUR_PRIMARY_PORT"], given["RUSHHOUR_SERVICE_PORT"]) == ("11", "13")
    assert given["RUSHHOUR_MAX_CONNECTIONS"] == "70"
    assert int(given["RUSHHOUR_REPLICA_QUOTA"]) * 2 == int(given["RUSHHOUR_REPLICA_PERIOD"])
    assert given["RUSHHOUR_REPLICA_CPUSET"] == "2-3"
    assert (given["RUSHHOUR_PRIMARY_QUOTA"], given["RUSHHOUR_PRIMARY_CPUSET"]) == ("0", "")
    assert not [name for name, value in given.items() if "secret" in value]


def test_an_engine_that_was_allowed_by_name_publishes_for_that_machine() -> None:
    assert replace(OLD, host="docker").publish == "0.0.0.0"  # noqa: S104 - only compared
    assert OLD.publish == "127.0.0.1"


def test_every_variable_of_the_compose_file_is_given_or_has_a_default(
    scenario: Scenario, tmp_path: Path
) -> None:
    given = variables(
        "p", scenario, OLD, places=PLACES, ports=Ports(1, 2, 3), images=ImageNames("pg", "py", "app:1")
    )
    given |= owner_variables(tmp_path / "work" / "7-abc")
    text = (ROOT / "infra" / "compose.yaml").read_text()
    required = {piece.split(":?")[0] for piece in text.split("${")[1:] if ":?" in piece.split("}")[0]}
    assert required
    assert required <= set(given)
    unknown = {name for name in given if f"${{{name}" not in text}
    assert not unknown


def test_cpu_limits_in_words() -> None:
    assert cpu_limit(0.5, 10, OLD).words == (
        "0.5 cores, 2 of 4 CPUs, weight of nice 10 among the containers by the engine (cgroup v1)"
    )
    assert cpu_limit(None, 0, NEW).words == "weight of nice 0 among the containers by the engine (cgroup v2)"


def test_more_data_gets_more_time() -> None:
    assert start_period_s(0) == 60
    assert start_period_s(3_000_000_000) == 360


def stats(cpu_ns: int, throttled_ns: int = 0, processes: int = 3) -> dict[str, object]:
    return {
        "pids_stats": {"current": processes},
        "cpu_stats": {
            "cpu_usage": {"total_usage": cpu_ns},
            "throttling_data": {"throttled_time": throttled_ns},
        },
        "memory_stats": {"usage": 1000, "stats": {"total_inactive_file": 400, "inactive_file": 1}},
    }


def test_usage_grows_over_a_restart_of_the_container() -> None:
    usage = Usage()
    first = usage.reading(stats(5_000_000_000, 1_000_000_000))
    assert first is not None
    assert (first.cpu_s, first.throttled_s, first.rss_bytes, first.processes) == (5.0, 1.0, 600, 3)
    assert usage.reading({"pids_stats": {}, "cpu_stats": {}}) is None  # as the engine tells of a stopped one
    again = usage.reading(stats(250_000_000))
    assert again is not None
    assert (again.cpu_s, again.throttled_s) == (5.25, 1.0)


@pytest.mark.parametrize(
    ("health", "said"),
    [
        ({}, "nothing"),
        ({"Log": []}, "nothing"),
        ({"Log": [{"Output": "old"}, {"Output": "Traceback\n  ...\nHTTP Error 500\n\n"}]}, "HTTP Error 500"),
    ],
)
def test_the_last_line_of_the_last_probe_is_reported(health: dict[str, object], said: str) -> None:
    assert last_probe(health) == said


@pytest.mark.parametrize("address", ["unix:///var/run/docker.sock", "npipe:////./pipe/docker_engine"])
def test_a_socket_is_local(address: str) -> None:
    assert local_host(address, None) == "127.0.0.1"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:2375", "tcp://localhost:2375", "tcp://[::1]:2375"])
def test_loopback_is_local(address: str) -> None:
    assert local_host(address, None) == "127.0.0.1"


@pytest.mark.parametrize("address", ["tcp://10.1.2.3:2376", "ssh://deploy@production"])
def test_another_machines_engine_is_refused_unless_named(address: str) -> None:
    host = "10.1.2.3" if "10." in address else "production"
    with pytest.raises(StackError, match=f"not on this machine.*--allow-host {host}"):
        local_host(address, None)
    with pytest.raises(StackError, match="not on this machine"):
        local_host(address, "elsewhere")
    assert local_host(address, host) == host


def test_docker_host_takes_precedence_and_an_unknown_context_is_an_error() -> None:
    assert engine_url({"DOCKER_HOST": "unix:///x.sock", "DOCKER_CONTEXT": "y"}) == "unix:///x.sock"
    with pytest.raises(StackError, match="no Docker context no-such-context"):
        engine_url({"DOCKER_CONTEXT": "no-such-context"})


@pytest.mark.parametrize(
    ("version", "parsed"),
    [("v2.26.1-4", (2, 26, 1)), ("2.26.1", (2, 26, 1)), ("1.41", (1, 41)), ("dev", ())],
)
def test_versions_are_compared_by_their_numbers(version: str, parsed: tuple[int, ...]) -> None:
    assert numbers(version) == parsed


def test_pips_settings_without_local_files() -> None:
    listed = (
        "global.index-url='https://index.example/simple'\n"
        "global.extra-index-url='file:///opt/one https://two.example/simple'\n"
        "global.find-links='file:///opt/wheels'\n"
        ":env:.index-url='https://other.example/simple'\n"
        "not a setting\n"
    )
    assert parse_pip_settings(listed) == {
        "index-url": "https://other.example/simple",
        "extra-index-url": "https://two.example/simple",
    }


def test_an_image_is_built_again_when_its_source_changes(tmp_path: Path) -> None:
    (tmp_path / "app" / "__pycache__").mkdir(parents=True)
    (tmp_path / "requirements.lock").write_text("flask==3\n")
    code = tmp_path / "app" / "views.py"
    code.write_text("one")
    first = release_digest(tmp_path, "1.1", IMAGE)
    (tmp_path / "app" / "__pycache__" / "views.pyc").write_text("compiled")
    assert release_digest(tmp_path, "1.1", IMAGE) == first
    assert release_digest(tmp_path, "1.1.1", IMAGE) != first
    assert release_digest(tmp_path, "1.1", replace(IMAGE, id="sha256:other")) != first
    code.write_text("two")
    assert release_digest(tmp_path, "1.1", IMAGE) != first


def test_kept_data_goes_on_request_unless_a_run_uses_it(tmp_path: Path) -> None:
    root = templates_root(tmp_path)
    for name in ("free", "used"):
        (root / name).mkdir(parents=True)
        (root / f"{name}.lock").touch()
    with locked(root / "used.lock", shared=True, timeout_s=1):
        assert remove_kept(root) == ([root / "free"], [root / "used"])
    assert not (root / "free").exists()
    assert (root / "used").exists()


def test_auto_takes_compose_where_it_can_be_brought_up() -> None:
    assert choose_stack("auto", lambda: "Docker 28") == Choice("compose", "Stack: compose (Docker 28).")


def test_auto_says_in_one_line_why_it_runs_embedded() -> None:
    def missing() -> str:
        raise StackError(
            "no container engine answers at unix:///x.sock: no such file:", ["a line", "another"]
        )

    assert choose_stack("auto", missing) == Choice(
        "embedded", "Stack: embedded, since no container engine answers at unix:///x.sock: no such file."
    )


def test_compose_that_was_named_never_falls_back() -> None:
    def missing() -> str:
        raise StackError("no engine")

    with pytest.raises(StackError, match="no engine"):
        choose_stack("compose", missing)


def options(stack: Asked, image: str | None = None, postgres_bin: Path | None = None) -> StackOptions:
    return StackOptions(stack, image, None, postgres_bin)


def test_an_image_and_other_binaries_settle_what_auto_comes_to() -> None:
    assert options("auto").asked == "auto"
    assert options("auto", image="shop:rc1").asked == "compose"
    assert options("auto", postgres_bin=Path("bin")).asked == "embedded"


def test_options_of_the_other_stack_are_refused_all_at_once() -> None:
    assert list(options("compose", image="shop:rc1").problems()) == []
    assert [problem.split()[0] for problem in options("embedded", image="shop:rc1").problems()] == ["--image"]
    both = options("auto", image="shop:rc1", postgres_bin=Path("bin"))
    assert [problem.split()[0] for problem in both.problems()] == ["--postgres-bin"]
