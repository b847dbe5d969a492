"""What a machine cannot carry is said before the start, with the limit and how to raise it."""

import dataclasses
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rushhour.load import machine as machines
from rushhour.load.machine import Machine, machine_problems, this_machine
from tests.unit import histories as h

ROOMY = Machine(open_files=1_000_000, ports=60_000, memory_mb=100_000)


def problems(machine: Machine, users: int, workers: int = 0) -> list[str]:
    scenario = h.scenario()
    load = dataclasses.replace(scenario.load, users=users, workers=workers)
    return machine_problems(dataclasses.replace(scenario, load=load), machine)


def test_a_machine_with_room_carries_them() -> None:
    assert problems(ROOMY, 50_000) == []
    assert problems(Machine(None, None, None), 10_000_000) == []


@pytest.mark.parametrize(
    ("limit", "users", "said"),
    [
        ({"open_files": 4_096}, 3_896, None),
        (
            {"open_files": 4_096},
            3_897,
            ("4,097 open files", "hard limit is 4,096", "ulimit -n 4097", "--workers N"),
        ),
        ({"ports": 28_232}, 27_732, None),
        (
            {"ports": 28_232},
            27_733,
            ("28,233 ports", "has 28,232", "ip_local_port_range='1024 65535'", "--workers-at"),
        ),
        ({"memory_mb": 520}, 10_000, None),
        ({"memory_mb": 519}, 10_000, ("about 520 MB", "519 MB are available", "--workers-at")),
    ],
)
def test_a_limit_is_named_with_the_way_to_raise_it(
    limit: dict[str, int], users: int, said: tuple[str, ...] | None
) -> None:
    found = problems(dataclasses.replace(ROOMY, **limit), users)
    assert len(found) == (said is not None)
    for part in said or ():
        assert part in found[0]


def test_files_are_those_of_a_process_and_ports_those_of_all() -> None:
    narrow = dataclasses.replace(ROOMY, open_files=4_096)
    assert problems(narrow, 6_000)
    assert problems(narrow, 6_000, workers=2) == []
    assert problems(dataclasses.replace(ROOMY, ports=5_000), 6_000, workers=2)


def test_every_limit_is_said_at_once() -> None:
    assert len(problems(Machine(1_024, 28_232, 1_000), 1_000_000)) == 3


def test_this_machine_is_read() -> None:
    machine = this_machine()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert machine.open_files == (None if hard == resource.RLIM_INFINITY else hard)
    assert machine.memory_mb is not None
    assert machine.memory_mb > 0


def test_a_control_group_without_a_limit_leaves_what_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "_GROUP", tmp_path)
    (tmp_path / "memory.current").write_text("5000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (this_machine().memory_mb or 0) > 5
    (tmp_path / "memory.max").write_text("8000000\n")
    assert this_machine().memory_mb == 3


def test_a_process_may_open_as_many_files_as_the_hard_limit_says() -> None:
    program = (
        "import resource; from rushhour.load.machine import raise_open_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512)); raise_open_files()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "(512, 512)\n"


@pytest.mark.parametrize(("users", "limit"), [(56, 256), (57, 4_096)])
def test_the_service_inherits_a_limit_of_open_files_that_holds_its_customers(users: int, limit: int) -> None:
    program = (
        "import dataclasses, resource, subprocess; from rushhour.load.machine import make_room\n"
        "from tests.unit import histories as h\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))\n"
        f"load = dataclasses.replace(h.scenario().load, users={users})\n"
        "make_room([dataclasses.replace(h.scenario(), load=load)])\n"
        "print(subprocess.run(['sh', '-c', 'ulimit -n'], capture_output=True, text=True).stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert int(done.stdout) == limit


def test_a_run_that_the_machine_cannot_carry_does_not_start() -> None:
    settings = ["--set", "load.users=900000000", "--set", "load.spawn_rate=900000000"]
    command = [sys.executable, "-m", "rushhour", "run", "gate", *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 64
    assert "900,000,000 customers" in done.stderr
    assert "ulimit -n" in done.stderr
    assert "Traceback" not in done.stderr
