"""The smoke suite on containers, and a distributed load: same verdicts as embedded, and nothing is left."""

import json
from pathlib import Path

import pytest
from docker import DockerClient

from tests.docker.compose_subject import everything
from tests.judged_runs import hold_against_access_log, run, told


@pytest.mark.parametrize("workers", [0, 2])
def test_the_smoke_suite_has_the_same_verdicts_on_compose(
    client: DockerClient, tmp_path: Path, workers: int
) -> None:
    before = everything(client)
    options = ("--stack=compose", f"--workers={workers}")
    leak = run(tmp_path, "smoke-leak", *options)
    hotfix = run(tmp_path, "smoke-hotfix", *options)
    verdict = told(leak)
    assert verdict["observed"] == "exhausted"
    assert verdict["stack"] == "compose"
    assert verdict["diagnosis"]["cause"] == "scope-never-removed"
    assert verdict["diagnosis"]["call_sites"][0]["file"] == "app/referrals.py"
    assert told(hotfix)["metrics"]["leaked_connections"] == 0
    for _, folder in (leak, hotfix):
        hold_against_access_log(folder)
        rows = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
        senders = {f"worker-{number}" for number in range(workers)} or {"local"}
        assert {json.loads(row)["worker"] for row in rows} == senders
    assert everything(client) == before
