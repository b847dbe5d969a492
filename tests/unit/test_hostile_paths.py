"""Paths that lead nowhere: each command says so, and the other runs are judged."""

import os
from pathlib import Path

import pytest

from rushhour.cli.main import _exit_of
from tests.unit import histories as h
from tests.unit.saved_runs import save

LOG = "tests/unit/traffic_logs/gunicorn.log"
PATHS = {
    "a link in a circle": "circle",
    "below a link in a circle": "circle/x",
    "a name of 300 letters": "a" * 300,
    "a path of 6,000 letters": "a/" * 3000 + "x",
    "below a file": "file/x",
    "a file": "file",
    "no text": "\udcff\udcfe",
    "the memory of the process": "/proc/self/mem",
}
COMMANDS = (
    *(["judge", "@"], ["report", "@"], ["verify", "@"], ["alarms", "@"], ["compare", "@", "@"]),
    *(["forecast", "@", "--customers", "5"], ["size", "@"], ["size", "@", "--over", "1h"]),
    *(["history", "--runs", "@"], ["list", "--scenarios", "@"], ["alarms", "--timeline", "@"]),
    *(["alarms", "none", "--policies", "@"], ["traffic", "@"], ["traffic", "--compare", LOG, "@"]),
    *(
        ["traffic", "--compare", "@", "@"],
        ["judge", "none", "--source", "@"],
        ["judge", "none", "--comment", "@"],
    ),
)


@pytest.mark.parametrize("kind", sorted(PATHS))
def test_a_path_that_leads_nowhere_is_refused_in_words(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "circle").symlink_to("other")
    (tmp_path / "other").symlink_to("circle")
    (tmp_path / "file").write_text("x")
    given = str(tmp_path / PATHS[kind])
    for command in COMMANDS:
        code = _exit_of([given if word == "@" else word for word in command])
        said = capsys.readouterr()
        assert code in (2, 64), (command, said)
        assert "a fault of rushhour" not in said.err, command
        assert len(said.err) < 20_000


def test_a_run_at_no_path_does_not_keep_the_others_from_being_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "circle").symlink_to("circle")
    run = save(tmp_path / "20250101T180000Z-gate", h.healthy(), h.scenario(release="1.1.1"))
    assert _exit_of(["judge", str(tmp_path / "circle"), str(tmp_path / ("a" * 300)), str(run.path)]) == 64
    said = capsys.readouterr()
    assert "PASS" in said.out
    assert said.err.count("no run directory") == 2


@pytest.mark.parametrize("command", [["judge"], ["verify"], ["alarms"], ["report"]])
def test_a_run_that_may_not_be_read_does_not_keep_the_others_from_being_read(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = save(tmp_path / "20250101T170000Z-gate", h.healthy(), h.scenario(release="1.1.1"))
    run = save(tmp_path / "20250101T180000Z-gate", h.healthy(), h.scenario(release="1.1.1"))
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: access(path, mode) and str(closed.path) not in str(path)
    )
    assert _exit_of([*command, str(closed.path), str(run.path)]) == 0  # root may read it all the same
    assert "Usage" not in capsys.readouterr().err
