"""What pytest says of a test that fails, whatever the tests before it have left to the garbage collector."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = """
import gc, traceback

class LeftBehind:
    def __init__(self):
        self.itself = self

    def __del__(self):
        LeftBehind()  # for the next collection
        try:
            {}["key"].attribute
        except KeyError:
            traceback.format_exc()

def test_leaves_something_behind():
    LeftBehind()
    gc.set_threshold(10)

def test_fails():
    assert 1 == 2
"""


def test_a_failure_is_reported_although_a_finaliser_prints_a_traceback_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.conftest", "test_own.py"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "assert 1 == 2" in done.stdout
