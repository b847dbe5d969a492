"""What the locale can write changes no exit code: signs that it lacks are replaced."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit import histories as h
from tests.unit.saved_runs import save

ROOT = Path(__file__).parents[2]
LOCALES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "c": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "20250101T180000Z-gäte"
    return save(folder, h.incident(), h.scenario(name="gäte")).path


@pytest.mark.parametrize(
    "locale", ["ascii", *(pytest.param(name, marks=pytest.mark.long) for name in ("c", "latin-1"))]
)
def test_a_locale_of_few_signs_changes_no_exit_code(locale: str, run: Path) -> None:
    for command, code in ((["judge", str(run)], 1), (["list"], 0), (["judge", f"{run}-not-there"], 64)):
        done = subprocess.run(
            [sys.executable, "-m", "rushhour", *command],
            cwd=ROOT,
            env={**os.environ, **LOCALES[locale]},
            capture_output=True,
            timeout=60,
            check=False,
        )
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert done.returncode == code, said
        assert "a fault of rushhour" not in said


def test_a_name_that_is_no_text_is_printed_with_a_replacement(run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rushhour", "judge", str(run), os.fsencode(run) + b"-\xff"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b"no scenario.json" in done.stderr
