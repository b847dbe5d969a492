"""Secrets reach no run directory, no terminal and no report."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from rushhour.agent.arguments import without_secrets
from rushhour.cli.console import say
from rushhour.cli.main import _exit_of
from rushhour.cli.options import Exit
from rushhour.errors import UsageError
from rushhour.report.source import excerpt
from rushhour.rundir import FactWriter, create_run_dir
from rushhour.rundir import facts as f
from rushhour.rundir.masking import MASK, is_secret_name, mask_text, mask_value
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import SCENARIO
from rushhour.stack.processes.service import fill_in
from tests.unit import histories

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
    f"postgresql://app:pa/ss{SECRET}@db:5432/shop",
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
    f"secretKey={SECRET}",
    f'{{"accessKeyId": "{SECRET}"}}',
    f"AccountName=shop;AccountKey={SECRET};",
    f'password: "correct horse {SECRET} staple"',
    f"PGPASSWORD='a b {SECRET}' psql",
    f'{{"private_key": "-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n-----END", "x": 1}}',
    f'{{\\"password\\": \\"a b {SECRET}\\"}}',
    f"{{'password': 'a \\' b {SECRET}'}}",
    f"curl -u app:{SECRET} http://127.0.0.1/",
    f"curl -u 'app:a b {SECRET}' http://127.0.0.1/",
    f'curl --user="app:{SECRET}" http://127.0.0.1/',
    f"curl -u app:'a b {SECRET}' http://127.0.0.1/",
    f"app.py --password '{SECRET}' --workers 4",
    f'app.py --db-password "a \\" b {SECRET}" --workers 4',
    f'PGPASS="a b {SECRET}" psql',
    f'COMMAND="env COOKIE_SALT={SECRET} app.py" ls',
    f'Server=db;Pwd="a b {SECRET}";',
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
        'token: "", user: "app"',
        "TOKENIZER: on",
        "GET http://web:8080/users/@me",
        "http://{host}:{port}/@me",
        "p95 < 400ms: 512 ms; key: value",
        "-u unbuffered, --user app",
        "DB_PASSWORD={password} {python} -m app --password {password}",
        "app.py --password '{password}' COMMAND=\"env WORKERS=4 app\" PWD='/srv/my app'",
        "-u 'python -m app' --user \"app\"",
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
