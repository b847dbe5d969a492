"""For all tests."""

import gc
import os
import sys
from collections.abc import Generator

import pytest
from hypothesis import settings

# Garbage collection would look at all modules and tests again and again while they are collected and run.
gc.disable()

# How long an example takes depends on what else the machine does.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

# On a CI server commands annotate by themselves; a test that wants that says so.
for name in (
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKSPACE",
    "GITLAB_CI",
    "CI_PROJECT_DIR",
    "RUSHHOUR_ANNOTATE",
):
    os.environ.pop(name, None)

# Files go to the workers whole: one that takes long and comes late would be waited for alone. Files that wait
# and files that compute take turns here, so that both cores have work from the start.
LONGEST_FIRST = (
    "test_webui_browser.py",
    "test_main_job.py",
    "test_forecast_answers.py",
    "test_webui_tabs.py",
    "test_output_for_programs.py",
    "test_own_service.py",
    "test_forecast_leaks.py",
    "test_load_check.py",
    "test_agent_exec.py",
    "test_forecast_production.py",
    "test_forecast_saturation.py",
    "test_run_losses.py",
    "test_load_run.py",
    "test_read_only_runs.py",
    "test_load_workers.py",
    "test_damaged_runs.py",
    "test_report_browser.py",
    "test_drill_losses.py",
    "test_stack_embedded.py",
    "test_nightly_job.py",
    "test_stack_guard.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the collector not run meanwhile: the report of a failed test could be lost, and the run with it.

    pytest parses the source of what failed. CPython 3.11 then raises SystemError where a finaliser that the
    collector runs prints a traceback, which parses its lines, too.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


_faults: list[str] = []


def pytest_internalerror(excrepr: object) -> None:
    _faults.append(str(excrepr))


def pytest_unconfigure() -> None:
    """Repeat the first fault: xdist's own words about the worker that it lost come behind it, and hide it."""
    if _faults:
        sys.stderr.write(f"\nThe first fault of pytest or a plugin was:\n{_faults[0]}\n")
