"""Reports of a stranger's run, and what is printed of it."""

import json
import os
import re
from html import unescape
from pathlib import Path

import pytest

from rushhour.cli import console as commands
from rushhour.cli.main import _exit_of
from rushhour.cli.options import Exit
from rushhour.jobs.drill import command as drill
from rushhour.judging.judge import judge_run
from rushhour.rundir import RunDir
from rushhour.rundir.masking import MASK
from tests.unit import histories
from tests.unit.saved_runs import save
from tests.unit.test_security_secrets import SECRET

ROOT = Path(__file__).parents[2]
EVIL = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    "\x1b[31m\x1b]0;title\x07\rPASS\u202e[red]{{7*7}}`|"
    f" mysql://app:{SECRET}@db/shop"
)


def _hostile(tmp_path: Path, root: str, file: str) -> RunDir:
    """A run whose every name and text is hostile, and whose leak is at line 1 of a file of its choice."""
    run = save(tmp_path / "run", histories.incident(), judged=False)
    for name in ("pool.jsonl", "requests.jsonl", "events.jsonl"):
        text = run.file(name).read_text()
        evil = json.dumps(EVIL)[1:-1]
        for known in (histories.LIST, histories.ROUTE, histories.SITE.function, "ThreadPoolExecutor-0"):
            text = text.replace(known, evil)
        text = text.replace(f'"{histories.SITE.file}"', json.dumps(file))
        text = text.replace(f'"line":{histories.SITE.line},', '"line":1,')
        run.file(name).write_text(text)
    scenario = json.loads(run.file("scenario.json").read_text())
    scenario["target"]["root"] = root
    scenario |= {"description": EVIL, "release": EVIL}
    scenario["target"]["releases"] = [EVIL]
    run.file("scenario.json").write_text(json.dumps(scenario))
    for manifest in run.file("manifest").iterdir():
        manifest.unlink()
    events = run.file("events.jsonl")
    events.write_text(events.read_text().replace('"manifest":true', '"manifest":false'))
    (run.path / "logs").mkdir(exist_ok=True)
    (run.path / "logs" / "<script>alert(3)<.log").touch()
    return run


@pytest.mark.parametrize(
    ("root", "file"),
    [
        ("/", "etc/passwd"),
        ("/etc", "passwd"),
        (".", "/etc/passwd"),
        (".", "../" * 12 + "etc/passwd"),
        ("{outside}", "private.py"),
        ("{inside}", "link.py"),
        ("{inside}", "notes.txt"),
        ("{inside}", "pipe.py"),
        pytest.param("{inside}", "nul\0.py", id="a NUL in the name"),
    ],
)
def test_a_strangers_run_puts_neither_scripts_nor_files_into_a_report(
    root: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inside, outside = tmp_path / "working", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "private.py").write_text("root:x:0:0:private\n")
    (inside / "link.py").symlink_to(outside / "private.py")
    (inside / "notes.txt").write_text("root:x:0:0:private\n")
    os.mkfifo(inside / "pipe.py")
    monkeypatch.chdir(inside)
    run = _hostile(tmp_path, root.format(inside=inside, outside=outside), file)
    assert _exit_of(["judge", str(run.path)]) in (Exit.MET, Exit.NOT_MET, Exit.UNKNOWN)
    assert _exit_of(["report", str(run.path)]) == Exit.MET
    assert _exit_of(["verify", str(run.path)]) in (Exit.MET, Exit.UNKNOWN)
    assert _exit_of(["compare", str(run.path), str(run.path)]) == Exit.UNKNOWN
    printed = capsys.readouterr()
    written = {name: run.file(name).read_text() for name in ("report.html", "summary.md", "junit.xml")}
    for name, text in {**written, "out": printed.out, "err": printed.err}.items():
        assert "root:x:0:0" not in text, name
        assert SECRET not in text, name
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", text), name
    html = written["report.html"]
    assert "alert(1)" in html  # the names are there, as text
    assert not re.search(r"<script>alert|<img src=x|</script><script>", html)
    assert "{{7*7}}" in html


def test_the_policy_of_a_report_allows_no_script_but_its_own(tmp_path: Path) -> None:
    run = save(tmp_path / "run", histories.incident())
    judge_run(run)
    html = run.file("report.html").read_text()
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert unescape(policy).startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in unescape(policy).partition("script-src")[2].partition(";")[0]
    assert "unsafe-eval" not in policy


def test_source_of_the_working_folder_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shown.py").write_text("connection = engine.connect()\n")
    monkeypatch.chdir(tmp_path)
    run = _hostile(tmp_path, str(tmp_path), "shown.py")
    judge_run(run)
    assert "engine.connect()" in run.file("report.html").read_text()
    monkeypatch.chdir("/")
    monkeypatch.chdir(run.path)
    judge_run(run)
    assert "engine.connect()" not in run.file("report.html").read_text()
    judge_run(run, tmp_path)
    assert "engine.connect()" in run.file("report.html").read_text()


def test_no_console_passes_on_control_characters_or_passwords_in_urls() -> None:
    for console in (commands.console, commands.errors, drill.console):
        with console.capture() as captured:
            console.print(f"a\x1b[31mbc\u202ed redis://:{SECRET}@h", soft_wrap=True)
        assert captured.get() == f"a\ufffd[31mbc\ufffdd redis://:{MASK}@h\n"


def test_every_console_is_the_one_that_cleans() -> None:
    plain = re.compile(r"^from rich\.console import .*\bConsole\b|^from rich import print", re.MULTILINE)
    makes = re.compile(r"\bConsole\(")
    texts = {path: path.read_text() for path in (ROOT / "rushhour").rglob("*.py")}
    assert [path for path, text in texts.items() if plain.search(text) and makes.search(text)] == []
