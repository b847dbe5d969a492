"""Scenario files, YAML, templates and locustfiles of strangers."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rushhour.alarms.policies import load_policies
from rushhour.cli.main import _exit_of
from rushhour.cli.options import Exit
from rushhour.errors import UsageError
from rushhour.report import page
from rushhour.report.settings import uses_think_time
from rushhour.scenario.file import load_scenarios
from tests.unit import histories

ROOT = Path(__file__).parents[2]


def _scenario_file(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "scenarios.yaml"
    path.write_text(
        "service: {name: s, command: 'x {port}'}\n"
        "scenarios: {a: {load: {users: 1, duration: 5s, warm_up: 1s, locustfile: x.py}, expect: healthy, "
        "thresholds: [p95 < 400ms]}}\n"
    )
    (folder / "x.py").touch()
    return path


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "refused"),
    [
        (0o644, 0o755, ""),
        (0o664, 0o775, ""),  # a umask of 002, where each user has a group of their own
        (0o600, 0o1777, ""),  # a file of ours in /tmp
        (0o646, 0o755, "chmod o-w"),
        (0o666, 0o1777, "chmod o-w"),
        (0o644, 0o777, "chmod o-w"),
    ],
)
def test_a_scenario_file_that_everybody_may_write_to_is_refused(
    file_mode: int, folder_mode: int, refused: str, tmp_path: Path
) -> None:
    path = _scenario_file(tmp_path / "folder")
    path.chmod(file_mode)
    path.parent.chmod(folder_mode)
    if not refused:
        assert "a" in load_scenarios(path).scenarios
        return
    with pytest.raises(UsageError, match=refused):
        load_scenarios(path)
    assert _exit_of(["list", "--scenarios", str(path)]) == Exit.USAGE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(("folder_mode", "refused"), [(0o1777, True), (0o755, False)])
def test_a_scenario_file_that_another_user_put_into_a_shared_folder_is_refused(
    folder_mode: int, refused: bool, tmp_path: Path
) -> None:
    path = _scenario_file(tmp_path / "folder")
    path.parent.chmod(folder_mode)
    os.chown(path, 65534, 65534)
    if refused:
        with pytest.raises(UsageError, match="of another user"):
            load_scenarios(path)
    else:  # a checkout of a user's, mounted into a container where root runs
        assert "a" in load_scenarios(path).scenarios


@pytest.mark.parametrize(
    "kind",
    [
        "!!python/object/apply:os.system ['touch made']",
        "!!python/object/new:os.system {args: ['touch made']}",
        "!!python/name:os.system x",
        "!made text",
        "[1, !made {a: 1}]",
    ],
)
def test_yaml_makes_no_objects(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = _scenario_file(tmp_path)
    path.write_text(path.read_text() + f"suites: {{s: {kind}}}\n")
    with pytest.raises(UsageError, match=r"yaml:3: suites\.s.*is a tag"):
        load_scenarios(path)
    rules = tmp_path / "rules.yaml"
    rules.write_text(f"system: {kind}\n")
    with pytest.raises(UsageError, match=r"is a tag|constructor for the tag"):
        load_policies([rules])
    assert not (tmp_path / "made").exists()


def test_every_yaml_reader_makes_plain_data_only() -> None:
    unsafe = re.compile(r"""typ=["'](?:unsafe|base)|\byaml\.(?:load|unsafe_load|full_load)\b|\bpickle\b""")
    assert [path for path in (ROOT / "rushhour").rglob("*.py") if unsafe.search(path.read_text())] == []


@pytest.mark.parametrize("package", ["rushhour.report", "rushhour.jobs.drill", "rushhour.jobs.nightly"])
def test_every_template_escapes(package: str) -> None:
    assert page._environment(package).autoescape is True
    makers = [path for path in (ROOT / "rushhour").rglob("*.py") if "from jinja2 import" in path.read_text()]
    assert [path.name for path in makers] == ["page.py"]


@pytest.mark.parametrize(
    "content", ["(" * 100_000, "x = " + "-" * 200_000 + "1", "a" + ".b" * 200_000, "\0", "import x\n" * 10]
)
def test_a_locustfile_of_a_strangers_run_is_parsed_and_not_run(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w')\n{content}")
    scenario = histories.scenario()
    target, load = replace(scenario.target, root=str(tmp_path)), replace(scenario.load, locustfile="x.py")
    assert uses_think_time(replace(scenario, target=target, load=load)) is False
    assert not (tmp_path / "made").exists()
