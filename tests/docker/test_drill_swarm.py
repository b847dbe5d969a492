"""`rushhour drill hotfix` in a small form on a real Swarm: a cure, and a bad hotfix that is rolled back."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from rushhour.cli import main
from rushhour.errors import StackError
from rushhour.stack.compose.engine import engine_url
from rushhour.stack.swarm import own_swarm
from tests.docker.compose_subject import ROOT, everything, wait_until


@pytest.fixture(autouse=True)
def _cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSHHOUR_CACHE", str(cache))


@pytest.fixture
def no_swarm(client: DockerClient) -> None:
    if own_swarm.state(client.api) != "inactive":
        pytest.skip("this engine is in a Swarm, which these tests leave alone")


def drills(runs: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and drill.json of each way in the order in which they were tried."""
    with pytest.raises(SystemExit) as ended:
        main(
            [
                *("drill", "hotfix", "--scenario", "smoke-leak", "--services", "3"),
                *("--scenarios", str(ROOT / "scenarios.yaml"), "--runs", str(runs), *arguments),
            ]
        )
    found = sorted(runs.glob("*-drill-hotfix*"))
    assert isinstance(ended.value.code, int)
    return ended.value.code, [json.loads((item / "drill.json").read_text(encoding="utf-8")) for item in found]


@pytest.mark.usefixtures("no_swarm", "nothing_left")
def test_every_way_of_rolling_out_cures_the_target_and_touches_no_other(
    client: DockerClient, tmp_path: Path
) -> None:
    code, told = drills(tmp_path, "--by", "all")
    assert [(item["outcome"], item["reasons"]) for item in told] == [("proven", [])] * 3
    assert code == 0
    update, rollback, deploy = told
    assert [item["rollout"]["by"] for item in told] == ["update", "rollback", "stack-deploy"]
    assert [item["hotfix"] for item in told] == ["1.1.1", "1.0", "1.1.1"]
    for item in (update, rollback):
        assert [change["what"] for change in item["changes"]] == ["untouched"] * 5  # both servers too
        assert len(item["mutable"]) == 5
    # A deployed stack writes every definition anew, and restarts nothing that it does not change.
    assert {change["what"] for change in deploy["changes"]} == {"rewritten"}
    assert update["rollout"]["pinned"].startswith("sha256:")
    assert all(item["figures"]["quiet_s"] >= 5 for item in told)
    page = (tmp_path / "drills.html").read_text(encoding="utf-8")
    assert page.count("report.html") == 3
    assert own_swarm.state(client.api) == "inactive"


@pytest.mark.usefixtures("no_swarm", "nothing_left")
def test_a_bad_hotfix_is_rolled_back_by_itself(
    client: DockerClient, tmp_path: Path, image_of: Callable[[str, str], str]
) -> None:
    dockerfile = "FROM rushhour/referrals:1.1.1\nENV REFERRALS_RELEASE=never-released\n"
    code, [told] = drills(tmp_path, "--hotfix-image", image_of(dockerfile, "rushhour/test-bad-hotfix:1"))
    assert (code, told["rollout"]["state"]) == (1, "rolled back")
    assert {change["what"] for change in told["changes"]} == {"untouched"}
    assert own_swarm.state(client.api) == "inactive"


def test_a_docker_context_of_another_machine_is_refused(
    client: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DOCKER_HOST leads to this machine's engine, but the command that is printed would go to production."""
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"production").hexdigest()
    folder.mkdir(parents=True)
    endpoint = {"Host": "tcp://192.0.2.7:2376", "SkipTLSVerify": False}
    meta = {"Name": "production", "Metadata": {}, "Endpoints": {"docker": endpoint}}
    (folder / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "config.json").write_text('{"currentContext": "production"}')
    monkeypatch.setenv("DOCKER_HOST", engine_url(os.environ))
    assert own_swarm.find_local_engine().host == "127.0.0.1"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(StackError, match=r"context in use leads elsewhere: .* tcp://192\.0\.2\.7:2376"):
        own_swarm.find_local_engine()


@pytest.mark.usefixtures("no_swarm")
def test_kill_9_leaves_no_swarm(client: DockerClient, tmp_path: Path) -> None:
    before = everything(client)
    command = [sys.executable, "-m", "rushhour", "drill", "hotfix", "--scenario", "smoke-leak"]
    command += ["--services", "1", "--scenarios", str(ROOT / "scenarios.yaml"), "--runs", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        said = next((line for line in harness.stdout if "start services" in line), None)
        harness.kill()
    assert said is not None, "it ended before it started the services"

    def gone() -> bool:
        return own_swarm.state(client.api) == "inactive" and everything(client) == before

    wait_until("the guard to leave the Swarm and remove all of it", gone)


@pytest.mark.usefixtures("no_swarm")
def test_a_swarm_that_is_there_already_is_left_alone(client: DockerClient) -> None:
    client.api.init_swarm(advertise_addr="127.0.0.1", listen_addr="127.0.0.1:2377")
    try:
        with pytest.raises(StackError, match="in a Swarm already"):
            own_swarm.refuse_foreign(client.api)
        with pytest.raises(StackError, match="not the drill's"):
            own_swarm.leave(client.api, str(os.getpid()))
        assert own_swarm.state(client.api) == "active"
    finally:
        client.api.leave_swarm(force=True)
