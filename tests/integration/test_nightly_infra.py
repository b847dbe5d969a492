"""What runs the night: every job says how the night ended, and is valid to the tool that reads it."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from importlib import import_module, resources, util
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rushhour.jobs.annotate.formats import Formats, formats_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "nightly"


def workflow() -> dict[str, Any]:
    """As GitHub reads it: YAML 1.2, where `on` is a word."""
    loaded: dict[str, Any] = YAML(typ="safe").load((FOLDER / "github-workflow.yaml").read_text())
    return loaded


def jenkins(run: Callable[[str], int]) -> str:
    """How a build ends whose shell lines end as `run` says."""
    text = (FOLDER / "Jenkinsfile").read_text()
    (set_up,) = re.findall(r"^ *sh '(.*?)'", text, re.M)
    if run(set_up):  # a plain `sh` step that fails is an error of the build
        return "error"
    (line,) = re.findall(r"sh\(script: '(.*?)', returnStatus: true\)", text)
    body = text[text.index("switch (code)") :]
    cases: dict[str, str] = dict(re.findall(r"(?:case (\d+)|default):\s*(break|error|unstable)", body))
    action = str(cases.get(str(run(line)), cases[""]))
    return {"break": "success", "unstable": "unknown", "error": "failed"}[action]


def github(run: Callable[[str], int]) -> str:
    """How a job ends whose steps end as `run` says."""
    steps = {step.get("name"): step.get("run") for step in workflow()["jobs"]["nightly"]["steps"]}
    if run(steps["Environment"]):
        return "error"
    return {0: "success", 1: "failed"}.get(run(steps["Nightly"]), "error")


def gitlab(run: Callable[[str], int]) -> str:
    """How a job ends whose script ends as `run` says."""
    job = YAML(typ="safe").load((FOLDER / "gitlab-ci.yaml").read_text())["nightly"]
    code = next((code for line in job["script"] if (code := run(line))), 0)
    if code == job["allow_failure"]["exit_codes"]:
        return "unknown"
    return {0: "success", 1: "failed"}.get(code, "error")  # GitLab shows the code of a job that failed


def systemd(run: Callable[[str], int]) -> str:
    """How a unit ends."""
    text = (FOLDER / "rushhour-nightly.service").read_text()
    (line,) = re.findall(r"^ExecStart=/bin/sh -c '(.*)'$", text, re.M)
    unknown = re.findall(r"^SuccessExitStatus=(.*)$", text, re.M)
    code = run(line.replace("$$", "$"))
    return (
        "success"
        if code == 0
        else "unknown"
        if [str(code)] == unknown
        else "failed"
        if code == 1
        else "error"
    )


class Desk:
    """A folder in which `make` and `rushhour` only write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = ""
        self.codes = {"make": 0, "rushhour": 0}
        for name, place in (("make", "bin"), ("rushhour", ".venv/bin")):
            program = folder / place / name
            program.parent.mkdir(parents=True)
            calls = shlex.quote(str(folder / "calls"))
            record = f'for word in {name} "$@"; do printf "%s\\0" "$word" >> {calls}; done'
            program.write_text(f"#!/bin/sh\n{record}\nexit $(cat {shlex.quote(str(folder))}/{name}.code)\n")
            program.chmod(0o755)

    def calls(self) -> list[str]:
        """All words of all calls."""
        path = self.folder / "calls"
        return path.read_text().split("\0")[:-1] if path.exists() else []

    def run(self, line: str, release: str | None = None) -> int:
        """A shell line as these tools run it: with -e, and RELEASE in the environment."""
        for name, code in self.codes.items():
            (self.folder / f"{name}.code").write_text(str(code))
        done = subprocess.run(
            ["bash", "-e", "-c", line],
            cwd=self.folder,
            env={"PATH": f"{self.folder}/bin:/usr/bin:/bin"}
            | ({} if release is None else {"RELEASE": release}),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        self.said += done.stdout + done.stderr
        return done.returncode


TEMPLATES = {"Jenkins": jenkins, "GitHub": github, "GitLab": gitlab, "systemd": systemd}


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    ("code", "ends"),
    [
        (0, "success"),
        (1, "failed"),
        (2, "unknown"),
        *((code, "error") for code in (64, 69, 70, 126, 127, 130, 143)),
    ],
)
def test_every_exit_code_ends_as_it_should(template: str, code: int, ends: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.codes["rushhour"] = code
    ended = TEMPLATES[template](desk.run)
    if template == "GitHub" and code == 2:  # it knows no neutral step: a warning stands on the run's page
        assert "::warning title=unknown::" in desk.said
        ended = "unknown" if ended == "success" else ended
    if template == "Jenkins" and ends == "error":  # Jenkins has one word for both; the text tells them apart
        assert ended == "failed"
    else:
        assert ended == ends
    assert desk.calls() == ["make", "venv", "rushhour", "nightly"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_environment_that_cannot_be_set_up_is_an_error(template: str, tmp_path: Path) -> None:
    """make ends with 2 then, which must not be taken for an unknown night."""
    desk = Desk(tmp_path)
    desk.codes["make"] = 2
    assert TEMPLATES[template](desk.run) == "error"
    assert desk.calls() == ["make", "venv"]


HOSTILE = (
    "1.2.0",
    "x && true || true #",
    "$(touch made)",
    "`touch made`",
    "$(shell touch made)",
    "a 'b' \"c",
    "--help",
)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("release", HOSTILE)
def test_a_release_reaches_rushhour_as_data(template: str, release: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    TEMPLATES[template](lambda line: desk.run(line, release))
    assert desk.calls() == ["make", "venv", "rushhour", "nightly", f"--release={release}"]
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("file", "vendored"),
    [("github-workflow.yaml", "github-workflows.json"), ("gitlab-ci.yaml", "gitlab-ci.json")],
)
def test_the_job_is_valid_by_the_schema_of_its_server(file: str, vendored: str) -> None:
    if util.find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema, which carries the schema of GitHub's workflows, is not installed")
    jsonschema = import_module("jsonschema")  # comes with check-jsonschema; has no types
    schemas = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / vendored).read_text(encoding="utf-8"))
    job = YAML(typ="safe").load((FOLDER / file).read_text())
    jsonschema.validate(job, schema)
    with pytest.raises(jsonschema.ValidationError):  # the check can fail
        jsonschema.validate(job | {"on": {"nightly": {}}, "nightly": 1}, schema)


def test_the_workflow_keeps_nights_reports_and_summary() -> None:
    job = workflow()["jobs"]["nightly"]
    steps = {step.get("uses", step.get("name")).split("@")[0]: step for step in job["steps"]}
    assert set(workflow()["on"]) == {"schedule", "workflow_dispatch"}
    assert "runs/nightly" in steps["actions/cache"]["with"]["path"].split()
    assert steps["actions/upload-artifact"]["if"] == "always()"
    assert steps["Summary"]["if"] == "always()"
    assert "$GITHUB_STEP_SUMMARY" in steps["Summary"]["run"]
    assert not any("${{" in step.get("run", "") for step in job["steps"])  # no input becomes shell text


def test_the_jobs_publish_the_findings() -> None:
    job = workflow()["jobs"]["nightly"]
    steps = {step.get("name"): step for step in job["steps"]}
    formats = formats_of(steps["Nightly"]["env"]["RUSHHOUR_ANNOTATE"].split(), None, {})
    assert formats == Formats(github=True, sarif=Path("rushhour.sarif"))
    assert "rushhour.sarif" in steps["Reports"]["with"]["path"].split()
    night = YAML(typ="safe").load((FOLDER / "gitlab-ci.yaml").read_text())["nightly"]
    automatic = formats_of((), None, {"GITLAB_CI": "true"})
    assert night["artifacts"]["reports"]["codequality"] == str(automatic.gitlab)
    jenkinsfile = (FOLDER / "Jenkinsfile").read_text()
    (asked,) = re.findall(r"RUSHHOUR_ANNOTATE = '(.*?)'", jenkinsfile)
    assert str(formats_of([asked], None, {}).sarif) in jenkinsfile


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
