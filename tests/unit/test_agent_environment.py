"""The two variables that start the agent."""

import os
from pathlib import Path

from rushhour.agent.environment import INJECT_DIR, agent_environment

OUT = Path("/var/tmp/agent")


def test_the_agent_is_found_first_and_the_rest_is_kept() -> None:
    added = agent_environment(OUT, {"PYTHONPATH": os.pathsep.join(["/a", "/b"]), "HOME": "/root"})
    assert added == {
        "PYTHONPATH": os.pathsep.join([str(INJECT_DIR), "/a", "/b"]),
        "RUSHHOUR_AGENT_DIR": "/var/tmp/agent",
    }


def test_no_empty_entry_which_would_mean_the_current_directory() -> None:
    for before in ({}, {"PYTHONPATH": ""}, {"PYTHONPATH": os.pathsep}):
        assert agent_environment(OUT, before)["PYTHONPATH"] == str(INJECT_DIR)


def test_adding_the_agent_twice_changes_nothing() -> None:
    once = agent_environment(OUT, {"PYTHONPATH": "/a"})
    assert agent_environment(OUT, once) == once


def test_a_relative_directory_is_made_absolute() -> None:
    assert agent_environment(Path("agent"), {})["RUSHHOUR_AGENT_DIR"] == str(Path.cwd() / "agent")


def test_the_injected_folder_has_only_sitecustomize() -> None:
    assert [path.name for path in INJECT_DIR.iterdir() if path.suffix] == ["sitecustomize.py"]
