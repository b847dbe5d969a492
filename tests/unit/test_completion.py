"""`rushhour completion`, in the real shells: what the Tab key offers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0

# Each takes the words of a command line, the last of which is incomplete, and prints what is offered.
BASH = """
eval "$(rushhour completion bash)"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_rushhour_completion rushhour
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
rushhour completion fish | source
complete -C (string join ' ' -- $argv) | string split -f 1 \\t
"""
# zsh completes in its line editor only, so it is asked through a terminal of its own.
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f
zpty -w shell "PROMPT=; autoload -U compinit; compinit -u -D; eval \\"\\$(rushhour completion zsh)\\"; \\
  zstyle ':completion:*' list-separator '#'; compadd() { builtin compadd \\"\\$@\\"; \\
  builtin compadd -O offered \\"\\$@\\"; print -l '<'\\$^offered'>' >> $OFFERED }; print READY"
zpty -r shell before '*READY*READY*'
zpty -w -n shell "$*"$'\\t'
for try in {1..400}; do [[ -s $OFFERED ]] && break; sleep 0.1; done
zpty -d shell
"""


def environment(folder: Path) -> dict[str, str]:
    """An environment in which `rushhour` is the one of these tests."""
    program = folder / "bin" / "rushhour"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from rushhour.cli import main\nmain()\n"
    )
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "OFFERED": str(folder / "offered"),
    }


def offered(shell: str, words: list[str], folder: Path, working: Path = ROOT) -> list[str]:
    """Return what a shell offers for the last of these words."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    script = {"bash": BASH, "fish": FISH, "zsh": ZSH}[shell]
    start = {
        "bash": ["--norc", "-c", script, "bash"],
        "fish": ["-N", "-c", script, "--"],
        "zsh": ["-f", "-c", script, "zsh"],
    }
    done = subprocess.run(
        [shell, *start[shell], *words],
        cwd=working,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stderr == ""
    if shell != "zsh":
        return done.stdout.split()
    found = (folder / "offered").read_text() if (folder / "offered").exists() else ""
    return [*dict.fromkeys(line.strip("<>") for line in found.splitlines())]


@pytest.mark.parametrize(
    "shell", ["bash", *(pytest.param(name, marks=pytest.mark.long) for name in ("zsh", "fish"))]
)
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rushhour", "run", "smoke-l"], ["smoke-leak"]),
        pytest.param(["rushhour", "ni"], ["nightly"], marks=pytest.mark.long),
        pytest.param(["rushhour", "run", "--dur"], ["--duration"], marks=pytest.mark.long),
    ],
)
def test_a_shell_completes_commands_options_and_scenarios(
    shell: str, words: list[str], expected: list[str], tmp_path: Path
) -> None:
    assert offered(shell, words, tmp_path) == expected


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rushhour", "run", "gate", "--annotate", "g"], ["github", "gitlab"]),
        (["rushhour", "run", "--release", "1.1"], ["1.1", "1.1.1"]),
        (["rushhour", "check", "--scenario", "rush-hour-"], ["rush-hour-primary", "rush-hour-hotfix"]),
        (["rushhour", "run", "loa"], ["loadtest"]),
        (["rushhour", "agent", "ex"], ["exec"]),
        (["rushhour", "completion", "z"], ["zsh"]),
    ],
)
def test_bash_completes_values(words: list[str], expected: list[str], tmp_path: Path) -> None:
    assert offered("bash", words, tmp_path) == expected


@pytest.mark.long
@pytest.mark.parametrize("text", [None, "scenarios: [", "scenarios: {gate: {users: many}}"])
def test_without_a_scenario_file_that_can_be_read_no_scenario_is_offered(
    text: str | None, tmp_path: Path
) -> None:
    working = tmp_path / "working"
    working.mkdir()
    if text is not None:
        (working / "scenarios.yaml").write_text(text)
    assert offered("bash", ["rushhour", "run", "g"], tmp_path, working) == []


def test_another_scenario_file_is_read_where_the_command_line_names_it(tmp_path: Path) -> None:
    file = str(ROOT / "scenarios.yaml")
    words = ["rushhour", "run", "--scenarios", file, "gat"]
    assert offered("bash", words, tmp_path, tmp_path) == ["gate"]
