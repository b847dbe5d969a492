"""`rushhour agent exec`: a service that knows nothing of it, run in the foreground with the agent in it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.free_ports import free_port
from tests.integration.agent_subject import line_of
from tests.shop_service import SHOP

DEADLINE_S = 120.0
RUSHHOUR = [sys.executable, "-m", "rushhour"]
ROOT = Path(__file__).parents[2]


def execute(folder: Path, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUSHHOUR, "agent", "exec", *options, "--", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def answered(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def get(port: int, path: str) -> None:
    """Answered within the deadline, whatever the port does before."""
    deadline = time.monotonic() + DEADLINE_S
    while not answered(port, path):
        assert time.monotonic() < deadline, f"{path} was not answered in {DEADLINE_S:g} s"
        time.sleep(0.05)


def test_a_leak_in_a_service_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    port, findings, log = free_port(), tmp_path / "findings.json", tmp_path / "log"
    command = [sys.executable, "-m", "gunicorn", "shop:app", "--bind", f"127.0.0.1:{port}", "--threads", "4"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*RUSHHOUR, "agent", "exec", "--fail-on-leak", "--json", str(findings), "--", *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": f"sqlite:///{tmp_path}/shop.db"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            for path in ("/health", "/items", "/report/2026"):
                get(port, path)
            deadline = time.monotonic() + DEADLINE_S
            while "LEAK" not in log.read_text():  # told while it runs
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)  # handed on to gunicorn, which ends in good order
            code = process.wait(DEADLINE_S)
        finally:
            process.kill()
    text, line = log.read_text(), line_of(tmp_path / "shop.py", "leak")
    assert code == 1, text
    assert f"rushhour: LEAK  shop.py:{line} report for GET /report/:year: 1 of pool shop.db" in text
    assert "QueuePool of 2 + 1, time-out 1 s" in text
    assert "Shutting down: Master" in text
    found = json.loads(findings.read_text())
    assert (found["exit_code"], found["leaks"]) == (0, 1)
    assert found["held"][0]["site"] == {"file": "shop.py", "line": line, "function": "report"}


JOBS = """
import threading, time
from concurrent.futures import ThreadPoolExecutor
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker
registry = scoped_session(sessionmaker(create_engine("sqlite:///jobs.db", pool_size=5)))
def job():
    registry.scalar(text("select 1"))  # leak
executor = ThreadPoolExecutor(1)  # kept, or its thread would end
executor.submit(job).result()
print("the job is done", flush=True)
time.sleep(60)
"""


def test_a_job_that_keeps_its_session_is_a_leak_while_its_worker_runs(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*RUSHHOUR, "agent", "exec", "--", sys.executable, "jobs.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + DEADLINE_S
            while "LEAK" not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            assert process.poll() is None
            process.terminate()
            process.wait(DEADLINE_S)
        finally:
            process.kill()
    line = line_of(tmp_path / "jobs.py", "leak")
    assert f"LEAK  jobs.py:{line} job: 1 of pool jobs.db out after their job had ended" in log.read_text()


def test_it_ends_as_its_command_does(tmp_path: Path) -> None:
    own = execute(tmp_path, sys.executable, "-c", "import sys; print(sys.stdin.read()); sys.exit(7)")
    assert own.returncode == 7
    assert "no process imported SQLAlchemy (1 process" in own.stderr
    killed = execute(tmp_path, sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    assert killed.returncode == 128 + 9
    missing = execute(tmp_path, "no-such-command")
    assert (missing.returncode, missing.stderr) == (127, "rushhour: no-such-command: no such command\n")
    blind = execute(tmp_path, "/bin/true")
    assert blind.returncode == 0
    assert "the agent started in no process" in blind.stderr


USES_POOL = """
import os, signal, sys, time
from sqlalchemy import create_engine
engine = create_engine("sqlite:///shop.db")
kept = [engine.connect() for _ in range(int(sys.argv[1]))]
if sys.argv[2] == "close":
    [connection.close() for connection in kept]
def wrote(kind):
    path = os.path.join(os.environ["RUSHHOUR_AGENT_DIR"], f"{os.getpid()}.jsonl")
    return os.path.exists(path) and open(path).read().count(f'"k":"{kind}"')
if kept:
    while sys.argv[2] == "leave" and wrote("out") < len(kept):
        time.sleep(0.05)
    samples = wrote("sample") + 10  # of which the last ones see what was closed, and a hold that is long
    while wrote("sample") < samples:
        time.sleep(0.05)
end = sys.argv[3]
os.kill(os.getpid(), signal.SIGTERM) if end == "SIGTERM" else os._exit(int(end)) if end != "0" else None
"""


def use_pool(folder: Path, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    if not (folder / "uses_pool.py").exists():
        (folder / "uses_pool.py").write_text(USES_POOL)
    options = ("--long-hold", "0.1s", *options)
    done = execute(folder, sys.executable, "uses_pool.py", *arguments, options=options)
    return done.returncode, done.stderr


@pytest.mark.long
def test_a_run_reads_only_its_own_files_of_a_kept_folder(tmp_path: Path) -> None:
    findings = tmp_path / "findings.json"
    options = ("--keep", "kept", "--json", "findings.json")
    leaks, folders = [], []
    for count in (3, 0, 1):
        _, said = use_pool(tmp_path, str(count), "leave", "0", options=options)
        leaks.append(json.loads(findings.read_text())["leaks"])
        folders.append(Path(said.splitlines()[-1].rpartition(" ")[2]))
    assert leaks == [3, 0, 1]
    assert folders == [tmp_path / "kept", tmp_path / "kept/run-2", tmp_path / "kept/run-3"]
    assert all(list(folder.glob("*.jsonl")) for folder in folders)


def test_a_place_that_cannot_be_written_is_refused_before_the_command_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    started = tmp_path / "started"
    for options in (
        ("--json", "missing/findings.json"),
        ("--json", "file/findings.json"),
        ("--json", "."),
        ("--keep", "file"),
        ("--keep", "file/kept"),
    ):
        done = execute(tmp_path, "touch", str(started), options=options)
        assert (done.returncode, started.exists()) == (64, False), done.stderr
        assert options[1] in done.stderr
        assert "Traceback" not in done.stderr
        assert "fault" not in done.stderr


RARE = pytest.mark.long


@pytest.mark.parametrize(
    ("checkouts", "kept", "end", "code"),
    [
        ("2", "close", "0", 0),
        ("2", "leave", "0", 1),
        pytest.param("2", "close", "SIGTERM", 128 + 15, marks=RARE),
        ("2", "leave", "SIGTERM", 1),  # a signal ends a server: it says nothing about leaks
        pytest.param("2", "leave", "143", 1, marks=RARE),  # as a shell hands a signal on
        pytest.param("2", "leave", "7", 7, marks=RARE),  # an error of the command's own
        ("0", "close", "0", 2),  # no check-out
    ],
)
def test_fail_on_leak_says_whether_a_connection_leaked(
    checkouts: str, kept: str, end: str, code: int, tmp_path: Path
) -> None:
    assert use_pool(tmp_path, checkouts, kept, end, options=("--fail-on-leak",))[0] == code


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("/bin/true",), 2),
        pytest.param((sys.executable, "-c", "pass"), 2, marks=RARE),
        pytest.param((sys.executable, "-S", "-c", "pass"), 2, marks=RARE),
        pytest.param(("/bin/false",), 1, marks=RARE),
    ],
)
def test_fail_on_leak_does_not_pass_a_command_without_a_check_out(
    command: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    done = execute(tmp_path, *command, options=("--fail-on-leak",))
    assert done.returncode == code
    if code == 2:
        assert "--fail-on-leak: no check-out was seen" in done.stderr


ENDS_WITH_ONE_OUT = {
    "os._exit": "hold()\nos._exit(0)\n",
    "a process of multiprocessing": """
child = multiprocessing.get_context("fork").Process(target=hold)
child.start()
child.join()
""",
}


@pytest.mark.parametrize("ends", ENDS_WITH_ONE_OUT.values(), ids=ENDS_WITH_ONE_OUT)
def test_fail_on_leak_does_not_pass_what_was_out_when_its_process_ended(ends: str, tmp_path: Path) -> None:
    """It is younger than a tenth of a second: no sample has seen it."""
    source = """
import multiprocessing, os, time
from sqlalchemy import create_engine
engine, kept = create_engine("sqlite:///ends.db"), []
engine.connect().close()
def hold():
    time.sleep(0.3)
    kept.append(engine.connect())  # out
"""
    (tmp_path / "ends.py").write_text(source + ends)
    done = execute(tmp_path, sys.executable, "ends.py", options=("--fail-on-leak", "--json", "found.json"))
    assert done.returncode == 2, done.stderr
    assert (
        f"out  ends.py:{line_of(tmp_path / 'ends.py', 'out')} hold: 1 of pool ends.db still out"
        in done.stderr
    )
    assert "--fail-on-leak: 1 connection was out when the process ended" in done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["leaks"], found["out_at_end"]) == (0, 1)


@pytest.mark.long
def test_without_fail_on_leak_the_command_s_own_code_is_the_answer(tmp_path: Path) -> None:
    assert execute(tmp_path, "/bin/true").returncode == 0


def test_no_process_outlives_a_killed_agent_exec(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    process = subprocess.Popen(
        [*RUSHHOUR, "agent", "exec", "--", sys.executable, "sleeper.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    sleeper = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.wait(DEADLINE_S)
    process.stdout.close()
    assert psutil.wait_procs([sleeper], timeout=DEADLINE_S)[1] == []


SOON_OVER = """
import threading
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
engine, kept = create_engine("sqlite:///soon.db"), []
def work():
    kept.append(Session(engine))
    kept[-1].execute(text("select 1")).all()  # leak
"""


def soon_over(folder: Path, how: str) -> str:
    (folder / "soon.py").write_text(SOON_OVER + how)
    done = subprocess.run(
        [sys.executable, "-m", "rushhour", "agent", "exec", "--", sys.executable, "soon.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_leak_right_before_the_process_ends_is_named(tmp_path: Path) -> None:
    said = soon_over(tmp_path, "thread = threading.Thread(target=work)\nthread.start()\n")
    assert "1 connection leaked" in said
    assert f"LEAK  soon.py:{line_of(tmp_path / 'soon.py', 'leak')} work" in said


def test_what_the_main_thread_has_out_when_the_process_ends_is_named(tmp_path: Path) -> None:
    said = soon_over(tmp_path, "work()\n")
    assert "no leak was seen, but 1 connection was still out when the process ended" in said
    assert f"out  soon.py:{line_of(tmp_path / 'soon.py', 'leak')} work" in said
    assert "every connection came back" not in said


LEAKS = """
import threading
from sqlalchemy import create_engine, text

engine = create_engine("sqlite:///shop.db")
kept = []

def report():
    kept.append(engine.connect())  # leak
    kept[0].execute(text("select 1"))

thread = threading.Thread(target=report)
thread.start()
thread.join()
print("its own output")
"""


def test_a_leak_is_annotated_beside_the_output_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(LEAKS)
    options = ("--annotate", "github", "--annotate", "gitlab=gl.json", "--comment", "comment.md")
    done = execute(tmp_path, sys.executable, "shop.py", options=options)
    assert (done.returncode, done.stdout) == (0, "its own output\n"), done.stderr
    line = line_of(tmp_path / "shop.py", "leak")
    (command,) = [one for one in done.stderr.splitlines() if one.startswith("::")]
    assert command.startswith(f"::error file=shop.py,line={line},title=")
    (row,) = json.loads((tmp_path / "gl.json").read_text())
    assert row["location"] == {"path": "shop.py", "lines": {"begin": line}}
    assert f"<code>shop.py:{line}</code>" in (tmp_path / "comment.md").read_text(encoding="utf-8")
