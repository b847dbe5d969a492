"""The web UI shows no secret that the terminal masks, and no file that lies outside of its runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rushhour.jobs.webui.masked import masked_data, masked_page
from rushhour.rundir.masking import MASK
from tests.unit.webui_answers import RUN, SECRET, WORDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """What each route answers, and each file of a run, of which one is a link to a file outside."""
    runs = tmp_path_factory.mktemp("runs")
    logs = runs / RUN / "logs"
    logs.mkdir(parents=True)
    (runs / "outside.txt").write_text(SECRET)
    (runs / RUN / "report.html").write_text("<p>a report</p>")
    (runs / RUN / "linked.html").symlink_to(runs / "outside.txt")
    (runs / RUN / "folder").symlink_to(runs)
    (logs / "service.log").write_text(f"{WORDS}\nlisening on 8080\n")
    (logs / "linked.log").symlink_to(runs / "outside.txt")
    os.mkfifo(logs / "pipe.log")
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.webui_answers", str(runs)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path: tuple(answer) for path, answer in json.loads(done.stdout.splitlines()[-1]).items()}


def test_no_route_shows_a_secret(answers: dict[str, tuple[int, str]]) -> None:
    assert [path for path, (_, text) in answers.items() if SECRET in text] == []


@pytest.mark.parametrize(
    "path",
    [
        "GET /",
        "GET /rushhour/state",
        f"GET /rushhour/state?run={RUN}&from=0",
        "GET /rushhour/bar",
        "GET /stats/requests",
        "GET /stats/requests/csv",
        "GET /stats/failures/csv",
        "GET /stats/report",
        "GET /exceptions",
        "GET /exceptions/csv",
        "GET /logs",
        "POST /swarm",
        f"GET /rushhour/runs/{RUN}/logs/service.log",
    ],
)
def test_what_held_a_secret_is_shown_without_it(path: str, answers: dict[str, tuple[int, str]]) -> None:
    status, text = answers[path]
    assert status == 200
    assert MASK in text


def test_options_of_a_locustfile_are_masked_by_their_names(answers: dict[str, tuple[int, str]]) -> None:
    page = answers["GET /"][1]
    data = json.JSONDecoder().raw_decode(page.rpartition("window.templateArgs = ")[2])[0]
    options = data["extra_options"]
    assert options["scenario"]["default_value"] == "gate"
    assert {name: option["default_value"] for name, option in options.items() if "shop" in name} in (
        {},
        {"shop_api_token": MASK, "shop_db": f"postgresql://app:{MASK}@db/shop"},
    )


def test_files_of_a_run_are_served_and_links_out_of_it_are_not(answers: dict[str, tuple[int, str]]) -> None:
    def status(name: str) -> int:
        return answers[f"GET /rushhour/runs/{RUN}/{name}"][0]

    assert status("report.html") == status("logs/service.log") == 200
    assert [status(name) for name in ("linked.html", "logs/linked.log", "logs/pipe.log", "folder")] == [
        404
    ] * 4


def test_scripts_of_a_page_stay_as_they_are() -> None:
    script = "<script>let token=e; let password=x</script>"
    shown = masked_page(f'{script}<script>window.templateArgs = {{"a": "token={SECRET}"}}\n</script>')
    assert shown.startswith(script)
    assert SECRET not in shown
    assert masked_page("<p>token=x</p>") == "<p>token=x</p>"


def test_data_that_cannot_be_read_are_not_shown() -> None:
    assert SECRET not in masked_page(f"window.templateArgs = {{broken token={SECRET}")


def test_keys_and_numbers_of_data_stay_as_they_are() -> None:
    data = {"key": "pool", "token": 5, "data": [{"name": "replica", "share": None, "ok": True}]}
    assert masked_data(data) == data
