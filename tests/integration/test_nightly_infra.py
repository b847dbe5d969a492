"""What runs the night: every job calls the same make target, and is valid to the tool that reads it."""

import json
import shutil
import subprocess
from importlib import import_module, resources, util
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "nightly"
JOBS = ("Jenkinsfile", "github-workflow.yaml", "rushhour-nightly.service")


def workflow() -> dict[str, Any]:
    """As GitHub reads it: YAML 1.2, where `on` is a word."""
    loaded: dict[str, Any] = YAML(typ="safe").load((FOLDER / "github-workflow.yaml").read_text())
    return loaded


@pytest.mark.parametrize("name", JOBS)
def test_every_job_calls_the_one_target(name: str) -> None:
    calls = [line.strip() for line in (FOLDER / name).read_text().splitlines() if "make " in line]
    assert any("make nightly" in line for line in calls if not line.startswith(("#", "//")))
    assert "rushhour nightly" not in (FOLDER / name).read_text()


def test_the_workflow_is_valid_by_githubs_own_schema() -> None:
    if util.find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema, which carries the schema of GitHub's workflows, is not installed")
    jsonschema = import_module("jsonschema")  # comes with check-jsonschema; has no types
    schemas = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "github-workflows.json").read_text(encoding="utf-8"))
    jsonschema.validate(workflow(), schema)
    with pytest.raises(jsonschema.ValidationError):  # the check can fail
        jsonschema.validate(workflow() | {"on": {"nightly": {}}}, schema)


def test_the_workflow_keeps_nights_reports_and_summary() -> None:
    job = workflow()["jobs"]["nightly"]
    steps = {step.get("uses", step.get("name")).split("@")[0]: step for step in job["steps"]}
    assert set(workflow()["on"]) == {"schedule", "workflow_dispatch"}
    assert "runs/nightly" in steps["actions/cache"]["with"]["path"].split()
    assert steps["actions/upload-artifact"]["if"] == "always()"
    assert steps["Summary"]["if"] == "always()"
    assert "$GITHUB_STEP_SUMMARY" in steps["Summary"]["run"]
    assert not any("${{" in step.get("run", "") for step in job["steps"])  # no input becomes shell text


def test_systemd_accepts_service_and_timer() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    units = [str(FOLDER / f"rushhour-nightly.{kind}") for kind in ("service", "timer")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if "rushhour-nightly" in line]
    assert (done.returncode, told) == (0, [])


def test_the_makefile_has_the_target() -> None:
    """With RELEASE from the environment, as the jobs hand it over."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "--old-file=.venv/.installed", "nightly"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "RELEASE": "1.1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if "No rule to make target" in done.stderr:
        pytest.skip("the Makefile has no target nightly yet")
    assert "rushhour nightly --release 1.1" in done.stdout
