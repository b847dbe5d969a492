"""The example of docs/scale.md for Locust's operator, run as the operator runs it, with fewer customers."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rushhour.process.ports import HOST
from rushhour.process.waiting import came_true
from rushhour.rundir import RunDir, load_history
from rushhour.rundir import facts as f
from tests.free_ports import free_port
from tests.integration.load_subject import ROOT, Server, recorded, serving

pytestmark = pytest.mark.long

WITHIN_S = 60
# What the operator's resource definition has; the cluster drops all else without a word.
SPEC = {"annotations", "labels", "image", "imagePullPolicy", "imagePullSecrets", "workers", "args", "env"}
FEWER = {
    "LOCUST_EXPECT_WORKERS": "2",
    "LOCUST_USERS": "20",
    "LOCUST_SPAWN_RATE": "20",
    "RUSHHOUR_SHAPE": "steady",
    "RUSHHOUR_DURATION_S": "6",
    "RUSHHOUR_THINK_TIME_S": "0.2",
}


def example() -> Mapping[str, Any]:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    [text] = re.findall(r"```yaml\n(apiVersion: locust.*?)```", page, re.DOTALL)
    found: Mapping[str, Any] = YAML(typ="safe").load(text)
    return found


def test_the_operators_example_has_only_what_the_operator_knows() -> None:
    spec = example()["spec"]
    assert spec.keys() <= SPEC
    names = {variable["name"] for variable in spec["env"]}
    assert FEWER.keys() <= names
    program = (
        "import sys; from locust.argument_parser import get_parser; from rushhour.load import names\n"
        "parser = get_parser(); known = {a.env_var for a in parser._actions if getattr(a, 'env_var', None)}\n"
        "known |= {value for value in vars(names).values() if isinstance(value, str)}\n"
        "known |= {'LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP'}  # Locust reads it without an option\n"
        "print(*sorted(set(sys.argv[1:]) - known))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *names], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def has_ended(run: RunDir) -> bool:
    return load_history(run).event(f.LOAD_ENDED) is not None


def test_the_operators_example_records_its_load(tmp_path: Path) -> None:
    variables = {variable["name"]: variable["value"] for variable in example()["spec"]["env"]}
    run, port = RunDir(tmp_path / "new" / "run"), str(free_port())
    files = f"{ROOT / 'locustfiles/referrals.py'},{ROOT / 'rushhour/load/plugin.py'}"
    with serving(Server()) as server, ExitStack() as stack:
        environment = os.environ | variables | FEWER
        environment |= {"LOCUST_HOST": server.url, "LOCUST_LOCUSTFILE": files, "PYTHONPATH": str(ROOT)}
        environment |= {"RUSHHOUR_RUN_DIR": str(run.path), "LOCUST_WEB_PORT": str(free_port())}
        ways = [["--master", "--master-bind-host", HOST, "--master-bind-port", port]]
        ways += [["--worker", "--master-host", HOST, "--master-port", port]] * 2
        for way in ways:
            process = subprocess.Popen(
                [sys.executable, "-m", "locust", *way],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, WITHIN_S)
            stack.callback(process.terminate)
        came_true(lambda: recorded(load_history(run)) == server.counts and has_ended(run), WITHIN_S)
        history = load_history(run)
    assert has_ended(run)
    assert max(sample.users for sample in history.generator) == 10
    assert recorded(history) == server.counts, "requests in flight at the end were lost"
    assert {row.worker for row in history.requests} == {"worker-0", "worker-1"}
