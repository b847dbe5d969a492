"""Tests of the settings that reports show: only those that had an effect in the run."""

from pathlib import Path
from typing import Any

import pytest

from rushhour.load import names
from rushhour.report import settings
from rushhour.report.html import render_html
from rushhour.report.lists import title
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.verdict.judge import judge
from tests.unit import histories

ROOT = Path(__file__).parents[2]
REFERRALS = "locustfiles/referrals.py"


def own(folder: Path, locustfile: str = "from locust import between\n", **target: Any) -> Any:
    """A scenario of a user's own service."""
    (folder / "customers.py").write_text(locustfile, encoding="utf-8")
    return histories.scenario(
        target={"name": "shop", "root": str(folder), **target},
        load={"users": 200, "duration": 75.0, "locustfile": "customers.py"},
        release="current",
    )


def shown(scenario: Any, history: History | None = None) -> dict[str, str]:
    return dict(settings.rows(scenario, history or History(None)))


GIVEN_ALL = "serve --threads {threads} -w {workers} --pool {pool_size}+{max_overflow} --wait {pool_timeout}"


@pytest.mark.parametrize(
    ("target", "service", "pool"),
    [
        ({"command": "serve"}, "shop", None),
        ({"command": "serve --threads {threads}"}, "shop, 64 threads", None),
        ({"command": "serve -w {workers}"}, "shop, 1 process", None),
        ({"command": GIVEN_ALL}, "shop, 1 x 64 threads", "20 + 10, time-out 30 s"),
        ({"command": "serve", "environment": {"T": "{threads}"}}, "shop, 64 threads", None),
        ({"command": "serve", "environment": {"P": "{pool_size}"}}, "shop", "20"),
        ({"app": "shop:app"}, "shop, 1 x 64 threads", None),
        ({"compose": "compose.yaml", "service": "shop"}, "shop", None),
        ({"compose": "c.yaml", "service": "s", "environment": {"T": "{threads}"}}, "shop, 64 threads", None),
        ({"url": "http://127.0.0.1:8000"}, "shop", None),
    ],
)
def test_threads_and_pool_are_shown_when_the_service_receives_them(
    tmp_path: Path, target: dict[str, Any], service: str, pool: str | None
) -> None:
    found = shown(own(tmp_path, **target))
    assert found["service"] == service
    assert found.get("pool") == pool
    assert "data" not in found
    assert "think time" not in found


def test_a_pool_that_the_service_configures_is_shown_as_the_agent_saw_it(tmp_path: Path) -> None:
    sample = f.PoolSample(9.0, 1, "shop", "QueuePool", 5, 10, 30.0, 0, 0, 0, 0, 0, 0, 0, 0)
    endless = f.PoolSample(9.0, 1, "other", "NullPool", 0, -1, 0.0, 0, 0, 0, 0, 0, 0, 0, 0)
    found = shown(own(tmp_path, command="serve"), History(None, pools=(sample, endless)))
    assert found["pool shop"] == "5 + 10, time-out 30.0 s"
    assert found["pool other"] == "NullPool, without a limit"


def test_data_is_shown_when_rushhour_seeded_it(tmp_path: Path) -> None:
    assert shown(own(tmp_path, command="serve", schema="app/schema.sql"))["data"] == "small, seed 1"


def test_think_time_is_shown_when_the_locustfile_reads_it(tmp_path: Path) -> None:
    assert settings._THINK_TIME == names.THINK_TIME_S
    reads = "import os\nT = os.environ['RUSHHOUR_THINK_TIME_S']\n"
    assert shown(own(tmp_path, reads, command="serve"))["think time"] == "6.0 s median"
    (tmp_path / "base.py").write_text(reads, encoding="utf-8")
    for text in (
        "import base\n",
        "from base import T\n",
        "from shop import base\n",
        "import shop.base as b\n",
    ):
        assert "think time" in shown(own(tmp_path, text, command="serve")), text
    for text in ("think_time = 3\n", "# RUSHHOUR_THINK_TIME_S\n", "syntax error here\n", "import other\n"):
        assert "think time" not in shown(own(tmp_path, text, command="serve")), text
    scenario = own(tmp_path, reads, command="serve")
    (tmp_path / "customers.py").unlink()
    assert "think time" not in shown(scenario)


@pytest.mark.parametrize("path", sorted((ROOT / "locustfiles").glob("*.py")), ids=lambda path: path.stem)
def test_the_shipped_locustfiles_read_the_think_time(path: Path) -> None:
    assert settings._reads_think_time(path, set())


def test_reports_leave_out_settings_without_effect(tmp_path: Path) -> None:
    scenario = own(tmp_path, url="http://127.0.0.1:8000", releases=("current",))
    history = histories.without_agent(histories.healthy())
    page = render_html(scenario, history, judge(scenario, history, "none"), None)
    for absent in ("threads<", "think time", "seed 1", "20 + 10", "CPU primary", "CPU replica"):
        assert absent not in page, absent
    assert "pool" not in str(title(scenario, 1, 1))
