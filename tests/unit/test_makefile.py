"""A target that lost its rule does nothing, and succeeds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_phony_target_has_a_rule_and_every_rule_but_venvs_a_recipe() -> None:
    phony = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[0].split()
    rules = re.findall(r"^([a-z-]+):.*\n(\t?)", MAKEFILE, re.M)
    assert sorted(name for name, _ in rules) == sorted(phony)
    assert [name for name, tab in rules if not tab] == ["venv"]


def test_targets_do_what_their_names_say() -> None:
    for name, does in (
        ("loadtest", "run loadtest"),
        ("nightly", "nightly"),
        ("test", "TOGETHER"),
        ("ui", "ui"),
    ):
        recipe = re.findall(rf"^{name}:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)[0]
        assert does in recipe


def made(folder: Path, *words: str, **variables: str) -> tuple[int, list[str]]:
    """Runs make beside a stub of rushhour; its exit code, and the words that the stub was called with."""
    (folder / "infra").mkdir()
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "infra" / "with_args.py", folder / "infra")
    for name in ("pyproject.toml", "requirements.lock", ".venv/.installed"):
        (folder / name).touch()
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    stub = folder / ".venv" / "bin" / "rushhour"
    stub.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word" >> calls; done\nexit 1\n')
    stub.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(
        ["make", *words], cwd=folder, env=environment, capture_output=True, timeout=120, check=False
    )
    calls = folder / "calls"
    return done.returncode, calls.read_text().split("\0")[:-1] if calls.exists() else []


HOSTILE = (
    "x && true || true #",
    "$(touch made)",
    "$(shell touch made)",
    "`touch made`",
    "a 'b' \"c",
    "$$HOME",
)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("on_the_command_line", [True, False])
def test_a_release_reaches_rushhour_as_data(value: str, on_the_command_line: bool, tmp_path: Path) -> None:
    words = (f"RELEASE={value}",) if on_the_command_line else ()
    code, calls = made(tmp_path, "nightly", *words, **({} if words else {"RELEASE": value}))
    assert calls == ["nightly", f"--release={value}"]
    assert code == 2  # the stub failed, and make has no other number for that
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "name", ["RELEASE", "ARGS", "PYTHON", "PATH", "VENV", "BIN", "STAMP", "RUN", "PYTEST", "SHELL"]
)
@pytest.mark.parametrize("on_the_command_line", [True, False])
def test_no_variable_of_the_makefile_is_run(name: str, on_the_command_line: bool, tmp_path: Path) -> None:
    value = "$(shell touch made)" + (f":{os.environ['PATH']}" if name == "PATH" else "")
    words = (f"{name}={value}",) if on_the_command_line else ()
    made(tmp_path, "nightly", *words, **({} if words else {name: value}))
    assert not (tmp_path / "made").exists()


def test_arguments_are_split_as_a_shell_splits_them_and_not_run(tmp_path: Path) -> None:
    given = "-k 'a or b' $(touch made) && touch made; `touch made` > made"
    _, calls = made(tmp_path, "gate", ARGS=given)
    assert calls == ["run", "gate", "-k", "a or b", *given.split("'")[2].split()]
    assert not (tmp_path / "made").exists()


def test_arguments_that_cannot_be_split_are_refused(tmp_path: Path) -> None:
    code, calls = made(tmp_path, "gate", ARGS="-k 'a or b")
    assert (code, calls) == (2, [])
