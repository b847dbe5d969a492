"""A Compose stack that is up: topology, agent, meters, secrets, faults."""

import http.client
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from docker import DockerClient

from rushhour.errors import StackError
from rushhour.observe.pools import PoolWatcher
from rushhour.rundir import RunDir
from rushhour.rundir.facts import PoolSample
from rushhour.scenario.model import Scenario
from rushhour.stack import Server, TakesFaults
from rushhour.stack.compose.failure import containers
from rushhour.stack.compose.running import CHECK_EVERY_S, ComposeRunning
from rushhour.stack.postgres.server import ask, connected
from tests.docker.compose_subject import wait_until

Standing = tuple[ComposeRunning, RunDir]


def request(running: ComposeRunning, path: str, body: object = None) -> None:
    """Answered with success, or the test fails."""
    where = urlsplit(running.service_url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status in (200, 201), content
    finally:
        connection.close()


def server(running: ComposeRunning, name: str) -> Server:
    return next(item for item in running.servers if item.name == name)


def query(running: ComposeRunning, name: str, text: str, within_s: float = 60.0) -> str | None:
    options = f" options='-c statement_timeout={within_s * 1000:.0f}'"
    with connected(server(running, name).admin_dsn + options) as admin:
        return ask(admin, text)


def test_the_replica_streams_what_the_primary_writes(standing: Standing) -> None:
    running, _ = standing
    invited = {"campaign_id": 1, "product_id": 1, "invitee_email": "compose@example.test"}
    request(running, "/customers/1/referrals", invited)
    count = "SELECT count(*) FROM referrals WHERE invitee_email = 'compose@example.test'"
    assert query(running, "primary", count) == "1"
    wait_until("the row on the replica", lambda: query(running, "replica", count) == "1")
    assert query(running, "replica", "SELECT pg_is_in_recovery()::text") == "true"
    slots = "SELECT string_agg(slot_name || ' ' || active, ',') FROM pg_replication_slots"
    assert query(running, "primary", slots) == "replica true"


def test_both_servers_have_the_embedded_stacks_configuration(standing: Standing, scenario: Scenario) -> None:
    running, _ = standing
    for item in running.servers:
        settings = {
            name: query(running, item.name, f"SHOW {name}")
            for name in (
                "max_connections",
                "superuser_reserved_connections",
                "max_standby_streaming_delay",
                "jit",
            )
        }
        assert settings == {
            "max_connections": str(scenario.postgres.max_connections),
            "superuser_reserved_connections": "5",
            "max_standby_streaming_delay": "-1",
            "jit": "off",
        }


def test_the_agent_in_the_image_reports_its_pools_by_server(standing: Standing, scenario: Scenario) -> None:
    running, run = standing
    watcher = PoolWatcher(
        run.agent,
        0.0,
        {str(item.reached_as): item.name for item in running.servers},
        running.service_root,
    )
    request(running, "/customers/1/referrals")
    seen: set[tuple[str, int, int]] = set()

    def replica_seen() -> bool:
        found = (fact for fact in watcher.poll() if isinstance(fact, PoolSample))
        seen.update((fact.pool, fact.size, fact.max_overflow) for fact in found)
        return "replica" in {pool for pool, _, _ in seen}

    wait_until("samples of the replica's pool", replica_seen)
    assert {(size, overflow) for _, size, overflow in seen} == {
        (scenario.pool.size, scenario.pool.max_overflow)
    }
    # Probes run Python in the same container, every other second; they are no processes of the service.
    assert len(list(run.agent.glob("*.jsonl"))) == 1 + scenario.service.workers


def test_ports_are_published_on_the_loopback_interface_alone(
    standing: Standing, client: DockerClient
) -> None:
    running, _ = standing
    bindings = {
        part: [
            entry["HostIp"]
            for entries in container.attrs["HostConfig"]["PortBindings"].values()
            for entry in entries
        ]
        for part, container in containers(client, running.project).items()
    }
    assert bindings == {"primary": ["127.0.0.1"], "replica": ["127.0.0.1"], "service": ["127.0.0.1"]}


def test_the_replica_has_less_cpu_and_no_container_runs_as_root(
    standing: Standing, scenario: Scenario, client: DockerClient
) -> None:
    running, _ = standing
    found = containers(client, running.project)
    limits = {part: item.attrs["HostConfig"] for part, item in found.items()}
    cores = limits["replica"]["CpuQuota"] / limits["replica"]["CpuPeriod"]  # of whole microseconds
    assert cores == pytest.approx(scenario.postgres.replica_cores, rel=1e-3)
    assert limits["primary"]["CpuQuota"] == 0
    assert running.meters["replica"].limit_cores == scenario.postgres.replica_cores
    assert {item.attrs["Config"]["User"] for item in found.values()} == {"postgres", "referrals"}


def test_no_password_reaches_the_run_directory(standing: Standing) -> None:
    running, run = standing
    passwords = {
        entry.removeprefix("password=")
        for item in running.servers
        for entry in item.admin_dsn.split()
        if entry.startswith("password=")
    }
    assert len(passwords) == 1
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        text = path.read_text(errors="replace")
        assert not [secret for secret in passwords if secret in text], path
    assert not [secret for secret in passwords if secret in repr(running)]


def test_cpu_comes_from_the_engine_and_grows(standing: Standing) -> None:
    running, _ = standing
    before = {part: meter.read() for part, meter in running.meters.items()}
    assert set(before) - {"engine"} == {"primary", "replica", "service"}
    busy = "SELECT count(*)::text FROM generate_series(1, 2000000)"

    def grown_and_throttled() -> bool:
        """Half a core, and the query wants a whole one, which a busy machine does not always give."""
        query(running, "replica", busy)
        now = running.meters["replica"].read()
        return bool(now.cpu_s > before["replica"].cpu_s + 0.1 and now.throttled_s)

    wait_until("more CPU, and a query that was throttled", grown_and_throttled)
    after = running.meters["replica"].read()
    assert after.rss_bytes > 1_000_000
    assert after.processes > 3


def test_a_paused_replica_is_silent_and_alive(standing: Standing) -> None:
    running, _ = standing
    assert isinstance(running, TakesFaults)
    running.fault("replica", "pause")
    try:
        with pytest.raises(psycopg2.OperationalError, match="timeout"):
            query(running, "replica", "SELECT 1::text")
        running.check_alive()
    finally:
        running.fault("replica", "unpause")
    assert query(running, "replica", "SELECT 1::text") == "1"


def test_a_killed_replica_comes_back_and_streams_again(standing: Standing) -> None:
    running, run = standing
    before = running.meters["replica"].read()
    running.fault("replica", "kill")
    with pytest.raises(psycopg2.OperationalError):
        query(running, "replica", "SELECT 1::text")
    until = time.monotonic() + 1.5 * CHECK_EVERY_S
    while time.monotonic() < until:
        running.check_alive()
    running.fault("replica", "start")
    state = "SELECT state FROM pg_stat_replication WHERE application_name = 'replica'"
    wait_until("the replica to stream", lambda: query(running, "primary", state) == "streaming")
    wait_until("figures of its new life", lambda: running.meters["replica"].read().cpu_s > before.cpu_s)
    log = run.logs / "replica.log"
    wait_until("its new life in the log", lambda: log.read_text().count("starting PostgreSQL") == 2)


def test_a_stopped_primary_shuts_down_cleanly(standing: Standing) -> None:
    running, run = standing
    running.fault("primary", "stop")
    log = run.logs / "primary.log"
    wait_until("a clean shutdown", lambda: "database system is shut down" in log.read_text())
    running.fault("primary", "start")
    state = "SELECT state FROM pg_stat_replication WHERE application_name = 'replica'"
    wait_until("the replica to stream", lambda: query(running, "primary", state) == "streaming")


def test_unknown_faults_are_refused(standing: Standing) -> None:
    running, _ = standing
    with pytest.raises(StackError, match="unknown server 'service'; known: primary, replica"):
        running.fault("service", "kill")


def test_a_container_that_ends_by_itself_is_reported_with_its_last_lines(
    standing: Standing, client: DockerClient
) -> None:
    """The last test of this stack: it is broken afterwards."""
    running, _ = standing
    containers(client, running.project)["service"].kill()
    problem: list[StackError] = []

    def broken() -> bool:
        try:
            running.check_alive()
        except StackError as error:
            problem.append(error)
        return bool(problem)

    wait_until("the check to notice", broken)
    assert str(problem[0]).startswith("the container of service is exited (Exited (137)")
    assert problem[0].log_tail
    assert Path(running.service_root) == Path("/srv")
