"""The documentation names what exists: every key of a scenario, every command, every file it links to."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from rushhour.cli import cli
from rushhour.scenario import model as s
from rushhour.scenario.file import load_scenarios

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [(s.Load, ""), (s.Pool, "pool."), (s.Service, "service."), (s.Postgres, "postgres."), (s.Data, "data.")],
)
def test_every_key_of_a_scenario_is_explained(kind: type, prefix: str) -> None:
    page = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
    missing = [one.name for one in fields(kind) if f"| `{prefix}{one.name}` |" not in page]
    assert missing == []


def test_every_key_of_the_service_block_is_explained() -> None:
    page = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
    assert [one.name for one in fields(s.Target) if f"| `{one.name}` |" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_cause_has_a_page_and_a_scenario_of_the_zoo() -> None:
    causes = set(s.CAUSES) - {"none"}
    assert {page.stem for page in (ROOT / "docs/causes").glob("*.md")} == causes
    file = load_scenarios(ROOT / "scenarios.yaml")
    zoo = [file.scenarios[name] for name in file.suites["zoo"]]
    assert {one.cause for one in zoo if one.expect != "healthy"} == causes
    for one in zoo:
        twin = file.scenarios.get(f"{one.name}-cured")
        assert one.name.endswith("-cured") or (twin is not None and twin.expect == "healthy"), one.name
    page = (ROOT / "docs/zoo.md").read_text(encoding="utf-8")
    assert [one.name for one in zoo if one.name.removesuffix("-cured") not in page] == []


def test_the_readme_names_every_command() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in cli.commands if f"rushhour {name}" not in page] == []
