"""Each claim of docs/security.md that needs no running stack: secrets, hostile files, modes, headers."""

import json
import os
import re
import stat
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from rushhour.agent import own_files
from rushhour.agent.arguments import without_secrets
from rushhour.agent.journal import Journal
from rushhour.alarms.policies import load_policies
from rushhour.cli import console as commands
from rushhour.cli.console import say
from rushhour.cli.main import _exit_of
from rushhour.cli.options import Exit
from rushhour.errors import UsageError
from rushhour.jobs.drill import command as drill
from rushhour.jobs.webui.guarding import guard_requests
from rushhour.judging.judge import judge_run
from rushhour.observe.pools import PoolWatcher
from rushhour.observe.tail import Tail
from rushhour.report import page
from rushhour.report.settings import uses_think_time
from rushhour.report.source import excerpt
from rushhour.rundir import FactWriter, RunDir, create_run_dir
from rushhour.rundir import facts as f
from rushhour.rundir.masking import MASK, is_secret_name, mask_text, mask_value
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import SCENARIO
from rushhour.stack.processes.service import fill_in
from tests.unit import histories
from tests.unit.saved_runs import save

ROOT = Path(__file__).parents[2]
SECRET = "hunter2Sw0rdfish"
SECRET_NAMES = (
    "DB_PASSWORD",
    "POSTGRES_PASSWORD",
    "MYSQL_PWD",
    "PGPASSWORD",
    "pgpass",
    "password",
    "SMTP_PASS",
    "API_KEY",
    "apiKey",
    "APIKEY",
    "STRIPE_SECRET",
    "SECRET_KEY",
    "SECRET_KEY_BASE",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "GITHUB_TOKEN",
    "authToken",
    "JWT_SIGNING_KEY",
    "PRIVATE_KEY",
    "FERNET_KEYS",
    "SENTRY_DSN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "SESSION_COOKIE",
    "PASSWORD_SALT",
    "GH_PAT",
    "HTTP_AUTH",
)
PLAIN_NAMES = (
    "PATH",
    "PWD",
    "OLDPWD",
    "DATABASE_URL",
    "KEYBOARD",
    "AUTHOR",
    "PUBLIC_KEY",
    "PASSENGERS",
    "HOME",
    "MONKEY",
)
URLS = (
    f"postgresql://app:{SECRET}@db:5432/shop",
    f"postgresql+asyncpg://app:{SECRET}@db/shop?ssl=true",
    f"redis://:{SECRET}@cache:6379/0",
    f"amqp://guest:{SECRET}@mq//",
    f"https://user:{SECRET}@sentry.internal/4",
    f"mongodb+srv://u:{SECRET}@a,b.example/x",
    f"postgresql://app:p@ss{SECRET}@[::1]:5432/shop",
)
TEXTS = (
    f"env DB_PASSWORD={SECRET} gunicorn app:app",
    f"serve --password={SECRET} --port 80",
    f"serve --db-password {SECRET} --port 80",
    f"serve --api-key {SECRET}",
    f"host=db user=app password={SECRET} dbname=shop",
    f"GET /reset?token={SECRET}&x=1",
    f"serve --auth_token='{SECRET}'",
    f"Authorization: Bearer {SECRET}",
    f"proxy-authorization: Basic {SECRET}",
    f"curl -H 'Authorization: Bearer {SECRET}' http://127.0.0.1/",
    f"sent with Bearer {SECRET}",
    f"X-Api-Key: {SECRET}",
    f"Cookie: lang=de; session={SECRET}; x=1",
    f"set-cookie: sid={SECRET}; Path=/",
    f"{{'Cookie': 'sid={SECRET}'}}",
    f"{{'password': '{SECRET}', 'user': 'app'}}",
    f'{{"Authorization": "Bearer {SECRET}"}}',
    f'{{"api_key":"{SECRET}"}}',
    f'{{\\"clientSecret\\": \\"{SECRET}\\"}}',
    f"password = '{SECRET}'",
    f"password:{SECRET}",
    f"accessToken={SECRET}",
    f"password => {SECRET}",
    f"PGPASSWORD={SECRET} psql",
    f"env SENTRY_DSN=https://{SECRET}@o1.example/1 COOKIE_SALT={SECRET} gunicorn",
    f"Server=db;User Id=app;Pwd={SECRET};",
    f"curl -u app:{SECRET} http://127.0.0.1/",
)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_the_value_of_a_secret_name_is_masked(name: str) -> None:
    assert is_secret_name(name)
    assert mask_value(name, SECRET) == MASK


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_the_value_of_a_plain_name_is_shown(name: str) -> None:
    assert mask_value(name, "value") == "value"


def test_placeholders_stay_in_a_masked_value() -> None:
    assert mask_value("DB_PASSWORD", f"{SECRET}{{release}}") == f"{MASK}{{release}}"
    assert mask_value("DB_DSN", "{primary_url}") == "{primary_url}"


@pytest.mark.parametrize("url", URLS)
def test_a_url_keeps_all_but_its_password(url: str) -> None:
    masked = mask_text(f"cannot connect to {url}: refused")
    assert SECRET not in masked
    assert MASK in masked
    assert masked.endswith(url.rpartition("@")[2] + ": refused")


@pytest.mark.parametrize("text", TEXTS)
def test_a_value_after_a_secret_name_is_masked_in_text(text: str) -> None:
    assert SECRET not in mask_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000/x",
        "see http://host:80/a and mail me@example.org",
        "30 of 30 connections, all leaked at app/x.py:9",
        "HISTkwAAAApassword+x/=" * 50,
        "git@github.com:org/repo.git",
        "app/token.py:12 refresh_token",
        "tokens: 5 of 30",
        "PATH=/usr/bin PWD=/srv/app WORKERS=4 pwd=/srv",
        "cookies are off",
        "p95 < 400ms: 512 ms; key: value",
        "-u unbuffered, --user app",
        "DB_PASSWORD={password} {python} -m app --password {password}",
    ],
)
def test_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert mask_text(text) == text


def _secretive() -> object:
    scenario = histories.scenario(release="1.1.1")
    target = replace(
        scenario.target,
        command=f"env TOKEN={SECRET} {{python}} app.py --password {SECRET}",
        setup=f"psql postgresql://app:{SECRET}@db/shop",
        environment={
            "DB_PASSWORD": SECRET,
            "DATABASE_URL": f"postgresql://a:{SECRET}@h/d",
            "WORKERS": "{workers}",
        },
    )
    service = replace(
        scenario.service, environment={"API_KEY": SECRET, "PLAIN": "3"}, partner=f"x --token={SECRET}"
    )
    return replace(scenario, target=target, service=service)


def test_no_secret_of_a_scenario_reaches_a_run_directory(tmp_path: Path) -> None:
    run = create_run_dir(tmp_path, "secretive")
    writer = FactWriter(run)
    writer.write_json("scenario.json", _secretive())
    writer.write(
        [
            f.Event(
                1.0,
                f.STACK_BROKE,
                {"what": f"no postgresql://a:{SECRET}@h/d", "log_tail": [f"password={SECRET}"]},
            ),
            f.Event(1.0, f.LOG_ERRORS, {"deeper": {"lines": [f"redis://:{SECRET}@h"]}}),
            f.AgentFault(1.0, 5, "connecting", f"OperationalError: mysql://a:{SECRET}@h/d"),
        ]
    )
    writer.close()
    for path in run.path.rglob("*"):
        assert not path.is_file() or SECRET not in path.read_text(), path
    saved = SCENARIO.validate_json(run.file("scenario.json").read_bytes())
    assert saved.target.environment == {
        "DB_PASSWORD": MASK,
        "DATABASE_URL": f"postgresql://a:{MASK}@h/d",
        "WORKERS": "{workers}",
    }
    assert saved.service.environment == {"API_KEY": MASK, "PLAIN": "3"}


def test_no_secret_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(f"cannot reach postgresql://app:{SECRET}@db/shop")
    with pytest.raises(UsageError) as caught:
        fill_in(f"{SECRET}{{unknown}}", {}, "service.environment.DB_PASSWORD")
    assert SECRET not in str(caught.value)
    scenarios = ROOT / "scenarios.yaml"
    for setting in ("nonsense", "load.users", "service.environment"):
        given = f"{setting}=redis://:{SECRET}@h"
        assert _exit_of(["run", "gate", f"--set={given}", "--scenarios", str(scenarios)]) == Exit.USAGE
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err


@pytest.mark.parametrize(
    "given",
    [
        f"service: {{name: s, command: 'x {{port}}', environment: {{DB_PASSWORD: [{SECRET}]}}}}",
        f"service: {{name: s, command: 'x {{port}}', environment: {{DB_PASSWORD: {{a: {SECRET}}}}}}}",
        f"service: {{name: s, url: 'http://user:{SECRET}@127.0.0.1:1'}}",
    ],
)
def test_a_refused_scenario_file_does_not_show_its_secrets(given: str, tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    path.write_text(f"{given}\nscenarios: {{a: {{load: {{users: 1, duration: 1s}}, expect: healthy}}}}\n")
    with pytest.raises(UsageError) as caught:
        load_scenarios(path)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_run_directory_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        run = create_run_dir(tmp_path / "runs", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700


def test_source_in_a_report_loses_its_passwords(tmp_path: Path) -> None:
    (tmp_path / "db.py").write_text(f'engine = create_engine("postgresql://app:{SECRET}@db/shop")\n')
    assert SECRET not in excerpt(tmp_path, "db.py", 1).hit


TRAPS = ("link", "dangling link", "pipe", "hard link")


def _trap(kind: str, path: Path, victim: Path) -> None:
    victim.write_text("of the victim\n")
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "dangling link":
        path.symlink_to(victim.with_name("not-there-yet"))
    elif kind == "hard link":
        path.hardlink_to(victim)
    else:
        os.mkfifo(path)


def _is_untouched(victim: Path) -> bool:
    return victim.read_text() == "of the victim\n" and not victim.with_name("not-there-yet").exists()


@pytest.mark.parametrize("kind", TRAPS)
def test_the_agent_writes_into_no_file_that_was_put_in_its_way(kind: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    folder = tmp_path / "agent"
    folder.mkdir()
    _trap(kind, folder / "7.jsonl", victim)
    with pytest.raises(OSError, match=r"left alone|symbolic links|No such device"):
        Journal(str(folder), 7)
    assert _is_untouched(victim)


@pytest.mark.parametrize("kind", TRAPS)
def test_the_agents_other_files_replace_what_was_put_in_their_way(kind: str, tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "pools.prom.tmp"
    _trap(kind, path, victim)
    os.close(own_files.open_new(str(path)))
    assert _is_untouched(victim)
    assert path.is_file()
    assert not path.is_symlink()


def test_a_process_goes_on_with_its_own_file_after_an_exec(tmp_path: Path) -> None:
    for text in ("a", "b"):
        journal = Journal(str(tmp_path), 7)
        journal.write([{"k": text}])
        journal.close()
    assert (tmp_path / "7.jsonl").read_text() == '{"k":"a"}\n{"k":"b"}\n'


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_nothing_is_read_through_a_link_or_from_a_pipe_in_a_folder_of_the_service(
    kind: str, tmp_path: Path
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "8.jsonl"
    _trap(kind, path, victim)
    assert own_files.read(str(path)) is None
    with pytest.raises(OSError, match=r"not followed|not a regular file"):
        Tail(path).lines()
    facts = PoolWatcher(tmp_path, 0.0, {}, tmp_path).poll()
    assert "of the victim" not in str(facts)


@pytest.mark.parametrize("kind", TRAPS)
def test_judging_a_strangers_run_writes_only_into_its_directory(kind: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    run = save(tmp_path / "run", histories.healthy())
    for name in (".verdict.json.tmp", ".report.html.tmp", ".junit.xml.tmp", ".summary.md.tmp", "summary.md"):
        run.file(name).unlink(missing_ok=True)
        _trap(kind, run.file(name), victim)
    judge_run(run)
    assert _is_untouched(victim)


@pytest.mark.parametrize(
    "command",
    [
        ["serve", "--password", SECRET, "--port", "1"],
        ["serve", f"--db-password={SECRET}"],
        ["serve", "--dsn", SECRET],
        ["serve", f"postgresql://a:{SECRET}@h/d"],
        ["serve", f"API_KEY={SECRET}"],
    ],
)
def test_the_agent_writes_no_secret_of_a_command_line(command: list[str]) -> None:
    shown = without_secrets(command)
    assert SECRET not in str(shown)
    assert shown[0] == "serve"
    assert len(shown) == len(command)


def test_the_agent_keeps_a_plain_command_line() -> None:
    command = [
        "python",
        "-m",
        "gunicorn",
        "app:app",
        "--bind",
        "127.0.0.1:80",
        "--keyfile=x",
        "--author",
        "me",
    ]
    assert without_secrets(command) == command


def _guarded(*, loopback: bool = True) -> FlaskClient:
    app = Flask(__name__)
    guard_requests(app, loopback=loopback)

    @app.after_request
    def as_locust_does(answer: Response) -> Response:
        answer.headers["Access-Control-Allow-Origin"] = "*"
        return answer

    @app.route("/", methods=["GET", "POST"])
    @app.route("/rushhour/runs/x/locust.html")
    def page() -> str:
        return "<p>a page</p>"

    return app.test_client()


@pytest.mark.parametrize("path", ["/", "/rushhour/runs/x/locust.html", "/no-such-page"])
def test_every_answer_of_the_web_ui_has_the_headers(path: str) -> None:
    headers = _guarded().get(path, base_url="http://127.0.0.1:8089").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers
    assert ("default-src 'none'" in headers["Content-Security-Policy"]) == ("/runs/" in path)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8089"}, 200),
        ({"Host": "[::1]:8089"}, 200),
        ({"Host": "rebound.example:8089"}, 403),
        ({"Host": "127.0.0.1.example:8089"}, 403),
        ({"Origin": "http://other.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://127.0.0.1:8089"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
    ],
)
def test_requests_of_other_sites_are_refused(headers: dict[str, str], status: int) -> None:
    for method in ("GET", "POST"):
        answer = _guarded().open("/", method=method, base_url="http://127.0.0.1:8089", headers=headers)
        assert answer.status_code == status, method
        assert answer.headers["X-Frame-Options"] == "DENY"


def test_another_site_may_link_to_the_page_and_not_post_to_it() -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    client = _guarded()
    assert client.get("/", base_url="http://127.0.0.1", headers=headers).status_code == 200
    assert client.post("/", base_url="http://127.0.0.1", headers=headers).status_code == 403


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


def _scenario_file(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "scenarios.yaml"
    path.write_text(
        "service: {name: s, command: 'x {port}'}\n"
        "scenarios: {a: {load: {users: 1, duration: 5s, warm_up: 1s, locustfile: x.py}, expect: healthy, "
        "thresholds: [p95 < 400ms]}}\n"
    )
    (folder / "x.py").touch()
    return path


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "refused"),
    [
        (0o644, 0o755, ""),
        (0o664, 0o775, ""),  # a umask of 002, where each user has a group of their own
        (0o600, 0o1777, ""),  # a file of ours in /tmp
        (0o646, 0o755, "chmod o-w"),
        (0o666, 0o1777, "chmod o-w"),
        (0o644, 0o777, "chmod o-w"),
    ],
)
def test_a_scenario_file_that_everybody_may_write_to_is_refused(
    file_mode: int, folder_mode: int, refused: str, tmp_path: Path
) -> None:
    path = _scenario_file(tmp_path / "folder")
    path.chmod(file_mode)
    path.parent.chmod(folder_mode)
    if not refused:
        assert "a" in load_scenarios(path).scenarios
        return
    with pytest.raises(UsageError, match=refused):
        load_scenarios(path)
    assert _exit_of(["list", "--scenarios", str(path)]) == Exit.USAGE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(("folder_mode", "refused"), [(0o1777, True), (0o755, False)])
def test_a_scenario_file_that_another_user_put_into_a_shared_folder_is_refused(
    folder_mode: int, refused: bool, tmp_path: Path
) -> None:
    path = _scenario_file(tmp_path / "folder")
    path.parent.chmod(folder_mode)
    os.chown(path, 65534, 65534)
    if refused:
        with pytest.raises(UsageError, match="of another user"):
            load_scenarios(path)
    else:  # a checkout of a user's, mounted into a container where root runs
        assert "a" in load_scenarios(path).scenarios


@pytest.mark.parametrize(
    "kind",
    [
        "!!python/object/apply:os.system ['touch made']",
        "!!python/object/new:os.system {args: ['touch made']}",
        "!!python/name:os.system x",
        "!made text",
        "[1, !made {a: 1}]",
    ],
)
def test_yaml_makes_no_objects(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = _scenario_file(tmp_path)
    path.write_text(path.read_text() + f"suites: {{s: {kind}}}\n")
    with pytest.raises(UsageError, match=r"yaml:3: suites\.s.*is a tag"):
        load_scenarios(path)
    rules = tmp_path / "rules.yaml"
    rules.write_text(f"system: {kind}\n")
    with pytest.raises(UsageError, match=r"is a tag|constructor for the tag"):
        load_policies([rules])
    assert not (tmp_path / "made").exists()


def test_every_yaml_reader_makes_plain_data_only() -> None:
    unsafe = re.compile(r"""typ=["'](?:unsafe|base)|\byaml\.(?:load|unsafe_load|full_load)\b|\bpickle\b""")
    assert [path for path in (ROOT / "rushhour").rglob("*.py") if unsafe.search(path.read_text())] == []


@pytest.mark.parametrize("package", ["rushhour.report", "rushhour.jobs.drill", "rushhour.jobs.nightly"])
def test_every_template_escapes(package: str) -> None:
    assert page._environment(package).autoescape is True
    makers = [path for path in (ROOT / "rushhour").rglob("*.py") if "from jinja2 import" in path.read_text()]
    assert [path.name for path in makers] == ["page.py"]


@pytest.mark.parametrize(
    "content", ["(" * 100_000, "x = " + "-" * 200_000 + "1", "a" + ".b" * 200_000, "\0", "import x\n" * 10]
)
def test_a_locustfile_of_a_strangers_run_is_parsed_and_not_run(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w')\n{content}")
    scenario = histories.scenario()
    target, load = replace(scenario.target, root=str(tmp_path)), replace(scenario.load, locustfile="x.py")
    assert uses_think_time(replace(scenario, target=target, load=load)) is False
    assert not (tmp_path / "made").exists()


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
