"""The built wheel holds what an installed rushhour looks for beside its modules."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    [built] = WheelBuilder(str(ROOT)).build(
        directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"]
    )
    with zipfile.ZipFile(built) as wheel:
        return set(wheel.namelist())


def test_what_both_stacks_need_is_in_it(names: set[str]) -> None:
    wanted = {
        *(f"infra/{path.relative_to(ROOT / 'infra')}" for path in (ROOT / "infra/docker").iterdir()),
        "infra/compose.yaml",
        "infra/postgres/postgresql.conf",
        "infra/locust/Dockerfile",  # an image with the versions of
        "requirements.lock",
        "agent/inject/sitecustomize.py",
        "stack/compose/pager/desk.py",
        "report/templates/report.html.j2",
    }
    assert {f"rushhour/{name}" for name in wanted} - names == set()
    assert not [name for name in names if name.startswith(("tests/", "app/", "rushhour/infra/nightly"))]
