"""What a machine cannot carry is said before the start, with the limit and how to raise it."""

import dataclasses
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rushhour.load.machine import (
    Machine,
    machine_problems,
    processes_problems,
    this_machine,
    worker_problems,
)
from tests.unit import histories as h
from tests.unit.fake_proc import fake_proc

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


@pytest.mark.parametrize(("workers", "said"), [(824, 0), (825, 1)])
@pytest.mark.parametrize("here", [True, False])
def test_a_master_has_a_connection_to_each_worker(workers: int, said: int, here: bool) -> None:
    scenario, machine = h.scenario(), dataclasses.replace(ROOMY, open_files=1_024)
    load = dataclasses.replace(scenario.load, users=6_000, workers=workers)
    found = machine_problems(dataclasses.replace(scenario, load=load), machine, workers_here=here)
    assert len(found) == said
    for problem in found:
        assert (
            "825 workers of one Locust master need 1,025 open files, and the hard limit is 1,024" in problem
        )
        assert "fewer workers" in problem


def test_customers_of_workers_elsewhere_take_nothing_here() -> None:
    scenario = h.scenario()
    load = dataclasses.replace(scenario.load, users=1_000_000, workers=20)
    machine = Machine(1_024, 28_232, 100)
    wanted = dataclasses.replace(scenario, load=load)
    assert machine_problems(wanted, machine, workers_here=False) == []
    assert len(machine_problems(wanted, machine)) == 3


def test_workers_in_containers_share_this_machines_memory_and_nothing_else() -> None:
    scenario = h.scenario()
    load = dataclasses.replace(scenario.load, users=100_000, workers=4)
    wanted, machine = dataclasses.replace(scenario, load=load), Machine(1_024, 28_232, 10_000)
    assert machine_problems(wanted, machine, in_containers=True) == []
    [problem] = machine_problems(wanted, dataclasses.replace(machine, memory_mb=4_599), in_containers=True)
    assert "100,000 customers in 5 processes of Locust need about 4,600 MB, and 4,599 MB" in problem
    alone = dataclasses.replace(wanted, load=dataclasses.replace(load, workers=0))
    assert len(machine_problems(alone, machine, in_containers=True)) == 2  # of a Locust beside the containers


@pytest.mark.parametrize(
    ("limit", "customers", "workers", "said"),
    [
        ({"open_files": 5_200}, 5_000, 8, None),
        ({"open_files": 5_199}, 5_000, 8, ("5,000 customers in a Locust process", "5,200 open files")),
        ({"ports": 40_500}, 5_000, 8, None),
        ({"ports": 40_499}, 5_000, 8, ("40,000 customers need 40,500 ports", "more machines or containers")),
        ({"memory_mb": 1_600}, 5_000, 8, None),  # the processes are there already
        (
            {"memory_mb": 1_599},
            5_000,
            8,
            ("40,000 customers need about 1,600 MB", "container's memory limit"),
        ),
        ({"open_files": 200, "ports": 500, "memory_mb": 0}, 0, 8, None),  # nobody knows how many will come
    ],
)
def test_a_worker_holds_its_customers_against_its_own_machine(
    limit: dict[str, int], customers: int, workers: int, said: tuple[str, ...] | None
) -> None:
    found = worker_problems(customers, workers, dataclasses.replace(ROOMY, **limit))
    assert len(found) == (said is not None)
    for part in said or ():
        assert part in found[0]


def test_a_machine_is_not_asked_for_more_workers_than_its_memory_holds() -> None:
    assert processes_problems(8, dataclasses.replace(ROOMY, memory_mb=960)) == []
    [problem] = processes_problems(8, dataclasses.replace(ROOMY, memory_mb=959))
    assert "8 workers need about 960 MB, and 959 MB are available" in problem
    assert "--processes N" in problem


def test_every_limit_is_said_at_once() -> None:
    assert len(problems(Machine(1_024, 28_232, 1_000), 1_000_000)) == 3


def may_raise_limits() -> bool:
    """Whether this process has CAP_SYS_RESOURCE."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(status["CapEff"], 16) >> 24 & 1)


def test_this_machine_is_read() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    machine = this_machine()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits, "to look is not to change"
    most = int(Path("/proc/sys/fs/nr_open").read_text()) if may_raise_limits() else limits[1]
    assert machine.open_files == max(most, limits[1])
    assert machine.memory_mb is not None
    assert machine.memory_mb > 0


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / f"memory.{name}").write_text(text + "\n")


@pytest.mark.parametrize(
    ("files", "left_mb"),
    [
        ({"current": "5000000"}, None),  # the root of the hierarchy has no limit
        ({"current": "5000000", "max": "max", "high": "max"}, None),
        ({"current": "5000000", "max": "8000000"}, 3),
        ({"current": "5000000", "max": "8000000", "high": "7000000"}, 2),
        # The kernel drops cached files when memory is asked for, but not those that lie in memory only.
        (
            {
                "current": "7000000",
                "max": "8000000",
                "stat": "anon 1\nfile 5000000\nshmem 500000\n"
                "inactive_file 3000000\nactive_file 1500000\nslab_reclaimable 10000",
            },
            5.51,
        ),
    ],
)
def test_memory_is_what_the_control_group_leaves(
    tmp_path: Path, files: dict[str, str], left_mb: float | None
) -> None:
    mount = f"30 25 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw"
    write(tmp_path / "job", **files)
    memory_mb = this_machine(fake_proc(tmp_path, [mount], ["0::/job"])).memory_mb or 0
    assert memory_mb == left_mb if left_mb else memory_mb > 10


def test_a_group_around_this_ones_group_limits_it_too(tmp_path: Path) -> None:
    mount = f"30 25 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw"
    proc = fake_proc(tmp_path, [mount], ["0::/machine.slice/session.scope/shell"])
    write(tmp_path / "machine.slice", current="6000000", max="8000000")
    write(tmp_path / "machine.slice" / "session.scope", current="5000000", max="9000000")
    write(tmp_path / "machine.slice" / "session.scope" / "shell", current="1000000", max="max")
    assert this_machine(proc).memory_mb == 2


@pytest.mark.parametrize("root", ["/", "/docker/abc"])  # of the machine, or what a container sees of it
def test_version_1_of_control_groups_counts_its_memory_apart(tmp_path: Path, root: str) -> None:
    mounts = [
        f"30 25 0:26 {root} {tmp_path}/memory rw - cgroup cgroup rw,memory",
        f"31 25 0:27 {root} {tmp_path}/cpu rw - cgroup cgroup rw,cpu",
    ]
    proc = fake_proc(tmp_path, mounts, ["4:memory:/docker/abc", "3:cpu:/docker/abc", "0::/"])
    group = tmp_path / "memory" / ("docker/abc" if root == "/" else "")
    stat = "inactive_file 9\ntotal_inactive_file 1000000\ntotal_active_file 500000"
    write(group, limit_in_bytes="8000000", usage_in_bytes="6000000", stat=stat)
    assert this_machine(proc).memory_mb == 3.5
    write(group, limit_in_bytes="9223372036854771712")
    assert (this_machine(proc).memory_mb or 0) > 10


def test_a_machine_without_control_groups_has_what_the_system_says(tmp_path: Path) -> None:
    machine = this_machine(tmp_path)
    assert machine.ports is None
    assert (machine.memory_mb or 0) > 10


@pytest.mark.parametrize(
    ("needed", "limit", "limit_of_root"), [(0, 512, 512), (300, 512, 512), (600, 512, 600)]
)
def test_a_process_may_open_as_many_files_as_the_hard_limit_says_and_root_as_many_as_it_needs(
    needed: int, limit: int, limit_of_root: int
) -> None:
    program = (
        "import resource; from rushhour.load.machine import raise_open_files\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512)); raise_open_files({needed})\n"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    expected = limit_of_root if may_raise_limits() else limit
    assert done.stdout.split() == [str(expected)] * 2


@pytest.mark.parametrize(
    ("customers", "limit"),
    [
        ("users=56", 256),
        ("users=57", 4_096),
        # How many are there at once depends on the service.
        ("users=None, arrivals=(RatePoint(0.0, 1.0),)", 4_096),
    ],
)
def test_the_service_inherits_a_limit_of_open_files_that_holds_its_customers(
    customers: str, limit: int
) -> None:
    program = (
        "import dataclasses, resource, subprocess; from rushhour.load.machine import make_room\n"
        "from rushhour.scenario.arrivals import RatePoint\n"
        "from tests.unit import histories as h\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))\n"
        f"load = dataclasses.replace(h.scenario().load, {customers})\n"
        "make_room([dataclasses.replace(h.scenario(), load=load)])\n"
        "print(subprocess.run(['sh', '-c', 'ulimit -n'], capture_output=True, text=True).stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert int(done.stdout) == limit


def test_only_workers_in_containers_have_files_of_their_own() -> None:
    program = (
        "import resource; from pathlib import Path\n"
        "from rushhour.cli.common import select; from rushhour.cli.options import Options\n"
        "from rushhour.errors import UsageError\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))\n"
        "for stack in ('auto', 'embedded', 'compose'):\n"
        "    options = Options(Path('scenarios.yaml'), stack, None, None, None, Path(), None, 2, None)\n"
        "    try: select(options, ['gate']); print(stack, 'none')\n"
        "    except UsageError as error: print(stack, error)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    *others, in_containers = done.stdout.splitlines()
    assert in_containers == "compose none"
    for said in others if not may_raise_limits() else ():
        assert "400 customers in a Locust process need 600 open files" in said


def test_a_run_that_the_machine_cannot_carry_does_not_start() -> None:
    settings = ["--set", "load.users=900000000", "--set", "load.spawn_rate=900000000"]
    command = [sys.executable, "-m", "rushhour", "run", "gate", *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 64
    assert "900,000,000 customers" in done.stderr
    assert "ulimit -n" in done.stderr
    assert "Traceback" not in done.stderr
