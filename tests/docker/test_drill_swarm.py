"""`rushhour drill hotfix` in a small form on a real Swarm: a cure, and a bad hotfix that is rolled back."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from rushhour.cli import main
from rushhour.drill import own_swarm
from rushhour.errors import StackError
from tests.docker.compose_subject import ROOT


@pytest.fixture(autouse=True)
def _cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSHHOUR_CACHE", str(cache))


@pytest.fixture
def no_swarm(client: DockerClient) -> None:
    if own_swarm.state(client.api) != "inactive":
        pytest.skip("this engine is in a Swarm, which these tests leave alone")


def drill(runs: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        main(
            [
                *("drill", "hotfix", "--scenario", "smoke-leak", "--services", "3"),
                *("--scenarios", str(ROOT / "scenarios.yaml"), "--runs", str(runs), *arguments),
            ]
        )
    [folder] = runs.glob("*-drill-hotfix")
    assert isinstance(ended.value.code, int)
    return ended.value.code, json.loads((folder / "drill.json").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("no_swarm", "nothing_left")
def test_only_the_target_is_touched_and_cured(client: DockerClient, tmp_path: Path) -> None:
    code, told = drill(tmp_path)
    assert (code, told["outcome"], told["reasons"]) == (0, "proven", [])
    assert [one["what"] for one in told["changes"]] == ["untouched"] * 5  # primary and replica too
    assert told["rollout"]["pinned"].startswith("sha256:")
    assert told["figures"]["quiet_s"] >= 5
    assert len(told["mutable"]) == 5
    assert own_swarm.state(client.api) == "inactive"


@pytest.mark.usefixtures("no_swarm", "nothing_left")
def test_a_bad_hotfix_is_rolled_back_by_itself(
    client: DockerClient, tmp_path: Path, image_of: Callable[[str, str], str]
) -> None:
    dockerfile = "FROM rushhour/referrals:1.1.1\nENV REFERRALS_RELEASE=never-released\n"
    code, told = drill(tmp_path, "--hotfix-image", image_of(dockerfile, "rushhour/test-bad-hotfix:1"))
    assert (code, told["rollout"]["state"]) == (1, "rolled back")
    assert {one["what"] for one in told["changes"]} == {"untouched"}
    assert own_swarm.state(client.api) == "inactive"


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
