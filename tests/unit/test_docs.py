"""The documentation names what exists: every key of a scenario, every command, every file it links to."""

import re
import shlex
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import pytest

from rushhour.cli import cli
from rushhour.cli.main import COMMANDS
from rushhour.diagnosis import advice
from rushhour.diagnosis.choose import RULES
from rushhour.rundir.encoding import POOL_KINDS
from rushhour.scenario import model as s
from rushhour.scenario.durations import seconds_of
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.thresholds import METRICS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [(s.Load, ""), (s.Pool, "pool."), (s.Service, "service."), (s.Postgres, "postgres."), (s.Data, "data.")],
)
def test_every_key_of_a_scenario_is_explained(kind: type, prefix: str) -> None:
    page = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
    missing = [key.name for key in fields(kind) if f"| `{prefix}{key.name}` |" not in page]
    assert missing == []


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        (s.Load, ""),
        (s.Pool, "pool."),
        (s.Service, "service."),
        (s.Postgres, "postgres."),
        (s.Data, "data."),
        (s.Scenario, ""),
    ],
)
def test_defaults_of_a_scenario_are_those_in_the_tables(kind: type, prefix: str) -> None:
    page = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
    wrong = []
    for key in fields(kind):
        row = re.search(rf"^\| `{prefix}{key.name}` \| ([^|]*) \|", page, re.M)
        other = kind is s.Scenario and key.name in {"name", "service", "release"}  # the file gives these
        if row is None or other:
            continue
        default = key.default if key.default_factory is MISSING else key.default_factory()
        if not is_default(row[1].strip().strip("`"), default):
            wrong.append((key.name, row[1], default))
    assert wrong == []


def is_default(shown: str, default: Any) -> bool:
    if default is MISSING:
        return shown == "required"
    if default is None:
        return shown in {"", "none", "required, or `arrivals"}
    if isinstance(default, bool):
        return shown == str(default).lower()
    if isinstance(default, (int, float)):
        return (seconds_of(shown) if shown[-1].isalpha() else float(shown)) == default
    if isinstance(default, (dict, tuple)):
        return not default and shown in {"{}", "[]"}
    return bool(shown == default)


def test_every_key_of_a_scenario_itself_is_explained() -> None:
    page = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
    blocks = {"name", "load", "pool", "service", "postgres", "data"}  # their keys have tables of their own
    names = [key.name for key in fields(s.Scenario) if key.name not in blocks]
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_every_key_of_the_service_block_is_explained() -> None:
    page = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
    assert [key.name for key in fields(s.Target) if f"| `{key.name}` |" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_to_a_heading_lead_to_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = []
    for target, heading in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text):
        linked = page.parent / target if target else page
        if "://" in target or linked.suffix != ".md":
            continue
        headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.M)
        anchors = {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in headings}
        missing += [f"{target}#{heading}"] if heading not in anchors else []
    assert missing == []


def test_every_cause_has_a_page_and_a_scenario_of_the_zoo() -> None:
    causes = set(s.CAUSES) - {"none"}
    assert {page.stem for page in (ROOT / "docs/causes").glob("*.md")} == causes
    file = load_scenarios(ROOT / "scenarios.yaml")
    zoo = [file.scenarios[name] for name in file.suites["zoo"]]
    assert {item.cause for item in zoo if item.expect != "healthy"} == causes
    for item in zoo:
        twin = file.scenarios.get(f"{item.name}-cured")
        assert item.name.endswith("-cured") or (twin is not None and twin.expect == "healthy"), item.name
    page = (ROOT / "docs/zoo.md").read_text(encoding="utf-8")
    assert [item.name for item in zoo if item.name.removesuffix("-cured") not in page] == []


def test_the_readme_names_every_command() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"rushhour {name}" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_lines_that_are_cited_of_the_service_take_a_connection(page: Path) -> None:
    """`app/referrals.py:27 list_referrals` names a line of code inside of that function."""
    wrong = []
    cited = re.findall(r"(app/\w+\.py):(\d+)(?:[ \n]+(\w+))?", page.read_text(encoding="utf-8"))
    for file, number, function in cited:
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        line = lines[int(number) - 1].strip() if int(number) <= len(lines) else ""
        known = [word for row in lines if (word := re.match(r"\s*(?:async )?def (\w+)", row))]
        inside = [row for row in lines[: int(number)] if re.match(r"\s*(?:async )?def \w+", row)]
        names_a_function = any(word[1] == function for word in known)
        here = bool(inside) and f"def {function}(" in inside[-1]
        if not line or line.startswith(("#", "@", "def ", '"""')) or (names_a_function and not here):
            wrong.append(f"{file}:{number} {function}: {line!r}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_table_is_cut_by_a_blank_line(page: Path) -> None:
    blocks = re.split(r"\n\s*\n", page.read_text(encoding="utf-8"))
    cut = [
        block for block in blocks if block.startswith("|") and not re.search(r"^\|[ :|-]+\|$", block, re.M)
    ]
    assert cut == []


def test_every_expectation_is_in_the_table_of_verdicts() -> None:
    page = (ROOT / "docs/verdict.md").read_text(encoding="utf-8")
    expectations = get_args(get_type_hints(s.Scenario)["expect"])
    assert [name for name in expectations if f"| `expect: {name}` |" not in page] == []


def test_every_metric_is_explained() -> None:
    page = (ROOT / "docs/verdict.md").read_text(encoding="utf-8")
    assert [name for name in METRICS if f"`{name}`" not in page] == []


def test_options_that_the_pages_show_exist() -> None:
    """Of `rushhour COMMAND --option`: the command takes that option."""
    missing, checked = [], 0
    for page in PAGES:
        for words in re.findall(r"rushhour ([a-z]+(?: [^`\n|#]+)?)", page.read_text(encoding="utf-8")):
            command: click.Command | None = cli
            rest = words
            while isinstance(command, click.Group):
                name, _, rest = rest.strip().partition(" ")
                command = command.get_command(click.Context(command), name)  # loaded only when it is called
            if command is None:
                continue
            known = {option for taken in command.params for option in taken.opts} | {"--help"}
            shown = re.findall(r"(?<![\w-])--[a-z][a-z-]+", f" {rest}".partition(" -- ")[0].partition(";")[0])
            missing += [f"{page.name}: {words} {option}" for option in shown if option not in known]
            checked += len(shown)
    assert missing == []
    assert checked > 20


def commands_shown() -> list[tuple[str, list[str]]]:
    """Return the words of every `rushhour` command in a code block, with its page."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            for line in re.findall(r"^(?:\$ )?(?:\.venv/bin/)?rushhour (.*)$", block, re.M):
                words = shlex.split(line.partition(" | ")[0].partition(" > ")[0], comments=True)
                found.append((f"{page.name}: {line}", words))
    return found


SHOWN = commands_shown()


@pytest.mark.parametrize(("line", "words"), SHOWN, ids=[line for line, _ in SHOWN])
def test_commands_in_code_blocks_are_good_usage(line: str, words: list[str]) -> None:
    """Every value is one that its option takes; files and folders need not exist here."""
    del line
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        known = command.get_command(context, words[0])
        assert known is not None
        command, words = known, words[1:]
    problem = ""
    try:
        command.make_context(command.name, words)
    except click.BadParameter as error:
        problem = error.message
    assert not problem or "does not exist" in problem


def test_every_option_of_agent_exec_is_explained() -> None:
    page = (ROOT / "docs/own-service.md").read_text(encoding="utf-8")
    agent = cli.get_command(click.Context(cli), "agent")
    assert isinstance(agent, click.Group)
    taken = {
        option for key in agent.commands["exec"].params for option in key.opts if option.startswith("--")
    }
    shown = set(re.findall(r"^\| `(--[a-z-]+)", page, re.M))
    assert shown == taken - {"--help"}


PLAIN = [page for page in PAGES if page.name not in {"security.md", "web-ui.md"}]


@pytest.mark.parametrize("page", PLAIN, ids=lambda path: path.name)
def test_pages_use_the_words_of_the_field(page: Path) -> None:
    """As the style says: "reported", "named" or "recorded"; "again"; "complete"."""
    text = page.read_text(encoding="utf-8")
    assert (
        re.findall(
            r"\b(?:told|anew|for good|gone blind|all the same)\b", re.sub(r"```.*?```", "", text, flags=re.S)
        )
        == []
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_make_targets_that_the_pages_show_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    shown = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", page.read_text(encoding="utf-8"), re.M)
    assert [name for name in shown if name not in targets] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_of_this_repository_that_the_pages_name_exist(page: Path) -> None:
    """Such as `rushhour/diagnosis/witnesses.py`, from the root; of a glob, some file."""
    named = re.findall(
        r"(?<![\w/.-])((?:rushhour|app|tests|infra|locustfiles|benchmarks|docs)/[\w/.*-]*[\w/*])",
        page.read_text(encoding="utf-8"),
    )
    images = {"rushhour/referrals", "rushhour/locust"}  # names of container images look the same
    assert [name for name in named if name not in images and not any(ROOT.glob(name.rstrip("/")))] == []


def test_contributing_lists_every_package_in_the_order_of_the_layers() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", page, re.M)
    assert listed == [name for layer in layers for name in layer.split(" : ")]
    row = next(line for line in page.splitlines() if line.startswith("| `jobs` |"))
    jobs = [
        path.stem
        for path in (ROOT / "rushhour/jobs").iterdir()
        if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").exists())
    ]
    assert [name for name in jobs if f"`{name}`" not in row] == []


def test_every_kind_of_pool_fact_is_explained() -> None:
    page = (ROOT / "docs/agent.md").read_text(encoding="utf-8")
    assert [name for name in POOL_KINDS if f"| `{name}` |" not in page] == []


def test_the_causes_are_listed_in_their_order_of_precedence() -> None:
    page = (ROOT / "docs/diagnosis.md").read_text(encoding="utf-8")
    section = page.partition("## Which cause is the primary one")[2].partition("If none accounts for half")[0]
    leaks = section.replace("The leaks:", "`scope-never-removed`, `unclosed-path`:")
    listed = [name for name in re.findall(r"`([a-z-]+)`", leaks) if name in s.CAUSES]
    rules = [rule.__module__.rpartition(".")[2].replace("_", "-") for rule in RULES]
    assert listed == [{"slow-backend": "slow-or-dead-backend"}.get(name, name) for name in rules]


def test_the_readme_shows_the_fix_in_its_present_words() -> None:
    page = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    where = "GET /customers/:id/referrals (app/referrals.py:27 list_referrals)"
    assert advice._REQUEST[advice.FLASK, True].replace("{where}", where) in page


def test_every_scenario_and_suite_is_in_the_tables() -> None:
    file = load_scenarios(ROOT / "scenarios.yaml")
    names = {name for name in file.scenarios if not name.startswith("zoo-")} | set(file.suites)
    for page in ("README.md", "docs/scenarios.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert [name for name in sorted(names) if f"`{name}`" not in text] == [], page


@pytest.mark.parametrize("page", ["README.md", "docs/programs.md"])
def test_the_commands_with_json_are_those_that_have_the_option(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    sentence = re.search(r"^(`[^\n]*) take `--json`", text, re.M)
    assert sentence is not None
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in COMMANDS}
    having = {
        name
        for name, command in commands.items()
        if command is not None and any("--json" in option.opts for option in command.params)
    }
    assert set(re.findall(r"`([a-z]+)`", sentence[1])) == having


def test_every_claim_of_the_page_on_security_names_tests_that_are_there() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `(\w+/test_\w+\.py)` \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) > 20
    for file, tests in rows:
        defined = set(
            re.findall(r"^def (test_\w+)", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE)
        )
        assert [name for name in re.findall(r"`(\w+)`", tests) if name not in defined] == [], file
