"""A locustfile is checked before anything starts: what is wrong is named with its file and line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rushhour.load import check
from rushhour.load.check import locustfile_problems

ROOT = Path(__file__).parents[2]
HEAD = "from locust import FastHttpUser, TaskSet, task\n"
USER = HEAD + 'class Customer(FastHttpUser):\n    @task\n    def home(self):\n        self.client.get("/")\n'

WRONG = {
    "syntax": ("x = 1\ndef broken(:\n", 2, "syntax error"),
    "indentation": (USER + "   y = 1\n", 6, "syntax error"),
    "import": (
        "import os\nimport no_such_module\n",
        2,
        "ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "name": ("from locust import NoSuchUser\n", 1, "ImportError: cannot import name 'NoSuchUser'"),
    "raises": ("x = {}\nx['id']\n", 2, "KeyError: 'id'"),
    "exits": ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    "no user": (HEAD, None, "has no user class"),
    "abstract only": (USER + "    abstract = True\n", None, "has no user class"),
    "pytest functions": ("def test_home(session):\n    session.get('/')\n", None, "has no user class"),
    "task run": (USER + "    @task\n    def run(self):\n        pass\n", 6, "must not override it"),
    "user without a task": (
        HEAD + "class Customer(FastHttpUser):\n    wait_time = None\n",
        2,
        "Customer has no task: mark a method with @task",
    ),
    "one of two without a task": (USER + "class Other(FastHttpUser):\n    pass\n", 6, "Other has no task"),
    "an empty list of tasks": (
        HEAD + "class Customer(FastHttpUser):\n    tasks = []\n",
        2,
        "Customer has no task",
    ),
    "task set without a task": (
        HEAD + "class Walk(TaskSet):\n    pass\nclass Customer(FastHttpUser):\n    tasks = {Walk: 2}\n",
        2,
        "Walk has no task",
    ),
    "session length": (
        USER.replace("    @task", "    session_length = 0\n    @task"),
        None,
        "session_length 0 of Customer is not a number of tasks",
    ),
    "session length of a task set": (
        USER + "    class Inner(TaskSet):\n        session_length = 'all'\n        @task\n"
        "        def x(self): pass\n    tasks = [Inner]\n",
        None,
        "session_length 'all' of Inner is not a number of tasks",
    ),
    "interrupts itself": ("x = 1\nraise KeyboardInterrupt\n", 2, "its import raised KeyboardInterrupt"),
    "an exit of its own": (
        "class Stop(BaseException): pass\nraise Stop('no')\n",
        2,
        "its import raised Stop: no",
    ),
    "nobody by weight": (
        HEAD + "class Off(FastHttpUser):\n    weight = 0\n    tasks = [print]\n",
        2,
        "nobody would start: no user class (Off) has a weight above 0",
    ),
    "a weight in words": (
        HEAD + "class Off(FastHttpUser):\n    weight = 'half'\n    tasks = [print]\n",
        2,
        "weight 'half' of Off is not a number",
    ),
    "a method named stop": (
        USER + "    def stop(self):\n        self.client.post('/stop')\n",
        6,
        "stop of Customer replaces Locust's own stop(force",
    ),
    "a method named start": (
        USER + "    def start(self):\n        pass\n",
        6,
        "start of Customer replaces Locust's own start(group",
    ),
    "a method of a task set": (
        USER + "    class Walk(TaskSet):\n        def execute_task(self): pass\n        tasks = [print]\n",
        7,
        "execute_task of Walk replaces Locust's own execute_task(task)",
    ),
    "null byte": ("x = 1\0\n", None, "null bytes"),
    **{
        f"task {name}": (
            USER + f"    @task\n    def {name}(self):\n        pass\n",
            6,
            f"task {name} of Customer replaces what Locust itself calls {name}",
        )
        for name in ("stop", "start", "wait", "client", "on_start", "environment", "context")
    },
    "task of a task set": (
        HEAD
        + "class Walk(TaskSet):\n    @task(3)\n    def interrupt(self):\n        pass\n"
        + "class Customer(FastHttpUser):\n    tasks = [Walk]\n",
        3,
        "task interrupt of Walk replaces",
    ),
    "task of a nested task set": (
        HEAD
        + "class Customer(FastHttpUser):\n    @task\n    class Walk(TaskSet):\n"
        + "        @task\n        def schedule_task(self):\n            pass\n",
        5,
        "task schedule_task of Walk replaces",
    ),
}


# Each is imported in a process of its own, with Locust: `make test` has one of each rule.
OTHERS = {
    *("indentation", "name", "abstract only", "pytest functions", "session length of a task set"),
    *("one of two without a task", "an empty list of tasks", "task of a task set"),
    *(f"task {name}" for name in ("start", "wait", "client", "on_start", "environment", "context")),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.long] * (kind in OTHERS)) for kind in WRONG]
)
def test_what_is_wrong_with_a_locustfile_is_named_with_its_line(kind: str, tmp_path: Path) -> None:
    text, line, what = WRONG[kind]
    path = tmp_path / "customers.py"
    path.write_text(text)
    (problem,) = locustfile_problems(path, tmp_path, print)
    place = f"{path}:{line}: " if line else str(path)
    assert problem.startswith(place)
    assert what in problem


def test_a_module_beside_it_is_to_blame_where_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("\n\n1 / 0\n")
    (tmp_path / "customers.py").write_text("import helpers\n" + USER)
    (problem,) = locustfile_problems(tmp_path / "customers.py", tmp_path, print)
    assert problem == f"{tmp_path / 'helpers.py'}:3: its import raised ZeroDivisionError: division by zero"


@pytest.mark.parametrize("path", sorted(ROOT.glob("locustfiles/*.py")), ids=lambda path: path.name)
def test_the_shipped_locustfiles_have_nothing_wrong(path: Path) -> None:
    assert locustfile_problems(path, ROOT, print) == []


def test_a_locustfile_may_print_start_threads_and_override_what_locust_offers(tmp_path: Path) -> None:
    path = tmp_path / "customers.py"
    path.write_text(
        "import subprocess, threading, time\nprint('[]')\nsubprocess.Popen(['sleep', '60'])\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        + USER
        + "    def on_start(self):\n        pass\n    def wait_time(self):\n        return 1\n"
    )
    assert locustfile_problems(path, tmp_path, print) == []


LATE_TASKS = (
    "    def on_start(self):\n        self.tasks = [lambda user: None]\n",
    (
        "    class Walk(MarkovTaskSet):\n        @transition('home')\n        def home(self): pass\n"
        "    tasks = [Walk]\n"
    ),
    "    def __init__(self, *given):\n        super().__init__(*given)\n        self.tasks = []\n",
    "    pass\n@events.init.add_listener\ndef add(**_):\n    Customer.tasks = [print]\n",
    "    class Walk(TaskSet):\n        def get_next_task(self): return print\n    tasks = [Walk]\n",
)


@pytest.mark.parametrize(
    "text", [*LATE_TASKS[:2], *(pytest.param(text, marks=pytest.mark.long) for text in LATE_TASKS[2:])]
)
def test_tasks_may_be_added_as_a_customer_starts(text: str, tmp_path: Path) -> None:
    path = tmp_path / "customers.py"
    states = "from locust.user.markov_taskset import MarkovTaskSet, transition\n"
    path.write_text(HEAD + states + "from locust import events\nclass Customer(FastHttpUser):\n" + text)
    assert locustfile_problems(path, tmp_path, print) == []


def test_a_probe_whose_starter_was_killed_ends_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "customers.py"
    path.write_text("import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: pass\n")
    done = subprocess.run([sys.executable, str(check.PROBE), str(path), "4"], check=False, timeout=60)
    assert done.returncode == 1


@pytest.mark.parametrize("waits", ["while True: pass", "import time; time.sleep(60)"])
def test_an_import_that_does_not_end_is_a_problem(
    waits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "IMPORT_TIMEOUT_S", 3.0)
    monkeypatch.setattr(check, "SAID_AFTER_S", 0.1)
    monkeypatch.setattr(check, "_SPARE_S", 120.0)
    path = tmp_path / "customers.py"
    path.write_text(f"x = 1\n{waits}\n")
    said: list[str] = []
    found = locustfile_problems(path, tmp_path, said.append)
    assert found == [f"{path}:2: its import stands here after 3 s, and has not ended"]
    assert said == [f"waiting for the import of {path}, for 3 s at most"]


@pytest.mark.parametrize(
    "text",
    [
        "    weight = 0\nclass Other(Customer):\n    weight = 1\n",
        "    weight = 0\n    fixed_count = 2\n",
        "    weight = 0\n@events.init.add_listener\ndef set_(**_): Customer.weight = 1\n",
        (
            "    def stop(self, force=False): return super().stop(force)\n    def wait(self): pass\n"
            "    def context(self): return {}\n    def run_report(self): pass\n"
            "class Other(Customer):\n    def stop(self, force=False): return True\n"
        ),
    ],
)
def test_what_is_meant_to_replace_locusts_own_may(text: str, tmp_path: Path) -> None:
    path = tmp_path / "customers.py"
    path.write_text(USER.replace("TaskSet", "TaskSet, events") + text)
    assert locustfile_problems(path, tmp_path, print) == []


def test_a_process_that_dies_while_it_imports_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "customers.py"
    path.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    assert "ended with exit code -11" in locustfile_problems(path, tmp_path, print)[0]


SCENARIOS = """
service: { name: s, command: "x {port}", health: /, releases: ["1.0", "1.1", "1.1.1"] }
scenarios:
  gate:
    load: { users: 1, duration: 20s, warm_up: 1s, locustfile: customers.py, client_timeout: 60s }
    expect: healthy
    thresholds: [p95 < 1s]
  rush-hour: { extends: gate }
suites: { nightly: [gate] }
"""


@pytest.mark.parametrize(
    "command",
    [
        ["run", "gate"],
        *(
            pytest.param(command, marks=pytest.mark.long)
            for command in (
                ["nightly"],
                ["ui", "gate", "--port", "18089"],
                ["drill", "hotfix", "--stack", "embedded"],
                ["worker", "127.0.0.1:15557", "--locustfile", "customers.py"],
            )
        ),
    ],
    ids=lambda command: command[0],
)
def test_every_command_that_runs_load_refuses_a_broken_locustfile_before_it_starts_anything(
    command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "scenarios.yaml").write_text(SCENARIOS)
    (tmp_path / "customers.py").write_text("def broken(:\n")
    done = subprocess.run(
        [sys.executable, "-m", "rushhour", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 64, done.stderr
    assert re.search(r"customers\.py:1: syntax error", re.sub(r"\s*\n\s*", "", done.stderr + done.stdout))
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
