"""`rushhour capacity` by the public command, against a service that does one thing at a time."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rushhour.cli.main import main
from rushhour.process.waiting import came_true
from tests.integration.load_subject import ROOT, Server, serving
from tests.judged_runs import ATTEMPTS

WORK_S = 0.02  # of each request, one after the other: fifty a second
SCENARIOS = """
scenarios:
  one-at-a-time:
    target: {{ url: "{url}", health: /health }}
    load: {{ users: 5, duration: 10s, warm_up: 1s, locustfile: own.py }}
    expect: healthy
    agent: false
    thresholds: [p95 < 300ms, http_5xx == 0]
    expect_capacity: ">= 5/s"
"""
ASKS = """
from locust import FastHttpUser, constant, task

class Asks(FastHttpUser):
    wait_time = constant(0)

    @task
    def ask(self):
        self.client.get("/ok")
"""


class OneAtATime(Server):
    """A server whose requests wait for each other."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = asyncio.Lock()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        async with self._turn:
            await asyncio.sleep(WORK_S)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        return True


def command(folder: Path, url: str, *more: str) -> list[str]:
    (folder / "own.py").write_text(ASKS)
    (folder / "scenarios.yaml").write_text(SCENARIOS.format(url=url))
    return [sys.executable, "-m", "rushhour", "capacity", "one-at-a-time", "--runs", "runs", *more]


def steps_in(folder: Path) -> list[Any]:
    """The steps that a search under way has written so far."""
    files = list((folder / "runs").glob("*-capacity-*/capacity.json"))
    searches = json.loads(files[0].read_text()) if files else []
    return list(searches[0]["steps"]) if searches else []


ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
QUICK = ("--step", "4s", "--warm-up", "1s", "--precision", "40", "--budget", "150s")


def found(folder: Path) -> dict[str, Any]:
    [search] = json.loads(next((folder / "runs").glob("*-capacity-*/capacity.json")).read_text())
    return dict(search)


@pytest.mark.long
@pytest.mark.alone
def test_the_knee_of_a_service_that_serves_fifty_requests_a_second(tmp_path: Path) -> None:
    with serving(OneAtATime()) as server:
        done = subprocess.run(
            command(tmp_path, server.url, *QUICK, "--from", "20/s"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=ENVIRONMENT,
        )
    search = found(tmp_path)
    assert done.returncode == {"pass": 0, "unknown": 2}[search["verdict"]], done.stdout + done.stderr
    assert "step 1: 20 customers a second (start)" in done.stdout
    assert "min left" in done.stdout
    steps = next((tmp_path / "runs").glob("*-capacity-*")) / "steps"
    judged = {path.parent.resolve().name for path in steps.glob("*/verdict.json")}
    assert judged == {step["run"] for step in search["steps"]}
    if search["verdict"] == "pass":  # not on a machine that is busy with other work
        assert search["knee"]["kind"] == "knee"
        assert 20 <= search["knee"]["low"] < search["knee"]["high"] <= 90
        assert "carries" in search["sentence"]


@pytest.mark.long
@pytest.mark.alone
def test_an_interrupted_search_keeps_what_it_found(tmp_path: Path) -> None:
    with serving(OneAtATime()) as server:
        process = subprocess.Popen(
            command(tmp_path, server.url, *QUICK, "--from", "2/s"),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
        )
        try:
            assert came_true(lambda: bool(steps_in(tmp_path)), 180)
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=180)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 130, output
    search = found(tmp_path)
    assert search["interrupted"] is True
    assert len(search["steps"]) >= 1
    assert "interrupted" in output
    assert "capacity.html" in output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--from", "0/s"], "not above 0"),
        (["--from", "many"], "is not a rate"),
        (["--from", "9000/s"], "--from 9000/s is above the highest rate to be tried, 2000/s"),
        (["--step", "1s"], "--step 1s: too short"),
        (["--budget", "20s"], "--budget 20s: 2 steps take"),
        (["--think-time", "0s"], "'0s' is not above 0"),
        (["--release", "9"], "has no such release"),
        (["--set", "load.users=many"], "input should be a valid integer"),
        (["--set", "thresholds=[]"], "thresholds"),
    ],
)
def test_a_search_that_cannot_be_made_is_refused_before_anything_starts(
    arguments: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(command(tmp_path, "http://127.0.0.1:9", *arguments)[3:])
    said = capsys.readouterr()
    assert ended.value.code == 64, said.out + said.err
    assert problem in said.err
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
@pytest.mark.alone
def test_two_releases_on_one_stack_one_of_which_leaks(tmp_path: Path) -> None:
    for attempt in range(ATTEMPTS):
        runs = tmp_path / f"runs-{attempt}"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "rushhour", "capacity", "smoke-hotfix", "--stack", "embedded"),
                *("--release", "1.1", "--release", "1.1.1", "--runs", str(runs)),
                *("--from", "30/s", "--step", "6s", "--warm-up", "2s", "--budget", "40s"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 2:
            break
    folder = next(runs.glob("*-capacity-smoke-hotfix"))
    leaking, hotfix = json.loads((folder / "capacity.json").read_text())
    assert done.returncode == 1, done.stdout + done.stderr
    assert (leaking["knee"]["kind"], leaking["steps"][-1]["cause"]) == ("leak", "scope-never-removed")
    assert "it leaks connections (scope-never-removed) at app/" in leaking["sentence"]
    assert hotfix["knee"]["kind"] != "leak"
    assert len(hotfix["steps"]) >= 2
    page = (folder / "capacity.html").read_text()
    assert "Side by side" in page
    # The servers were started once, for the first step.
    started = {path.parent.parent.name for path in folder.glob("steps/2*/logs/primary.log")}
    assert len(started) == 1
