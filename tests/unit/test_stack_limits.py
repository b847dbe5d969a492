"""Limits of CPU: quotas, weights and the control groups that they are written to."""

from pathlib import Path

import pytest

from rushhour.errors import StackError
from rushhour.stack.processes.cgroups import GroupV1, GroupV2, quota, spread, weight
from rushhour.stack.processes.hierarchy import Hierarchy, candidates, find_hierarchy
from tests.unit.fake_proc import fake_proc


@pytest.mark.parametrize(
    ("cores", "cpus", "spread_over", "expected"),
    [
        (0.5, 2, 2, (10_000, 20_000)),
        (0.5, 64, 2, (10_000, 20_000)),  # not over all 64: a slice for each would take a period of 640 ms
        (1.0, 8, 2, (10_000, 10_000)),
        (1.5, 2, 2, (10_000, 6_667)),
        (0.1, 1, 1, (5_000, 50_000)),
        (0.001, 2, 2, (1_000, 1_000_000)),  # the kernel's longest period and least quota
    ],
)
def test_quota_holds_a_slice_for_each_cpu(
    cores: float, cpus: int, spread_over: int, expected: tuple[int, int]
) -> None:
    assert spread(cores, cpus) == spread_over
    assert quota(cores, spread_over) == expected


def test_weight_follows_the_kernels_table() -> None:
    assert [weight(nice) for nice in (0, 10, 19)] == [1024, 110, 15]


def test_group_of_version_1(tmp_path: Path) -> None:
    cpu, cpuacct = tmp_path / "cpu", tmp_path / "cpuacct"
    cpu.mkdir()
    cpuacct.mkdir()
    group = GroupV1(cpu, cpuacct)
    group.limit(0.5, 2)
    group.weigh(10)
    (cpuacct / "cpuacct.usage").write_text("2500000000\n")
    (cpu / "cpu.stat").write_text("nr_periods 9\nnr_throttled 3\nthrottled_time 1500000000\n")
    assert (cpu / "cpu.cfs_quota_us").read_text() == "10000"
    assert (cpu / "cpu.cfs_period_us").read_text() == "20000"
    assert (cpu / "cpu.shares").read_text() == "110"
    assert (group.cpu_s(), group.throttled_s()) == (2.5, 1.5)
    assert list(group.directories) == [cpu, cpuacct]
    assert list(GroupV1(cpu, cpu).directories) == [cpu]


def test_group_of_version_2(tmp_path: Path) -> None:
    group = GroupV2(tmp_path)
    group.limit(2, 4)
    group.weigh(10)
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\nthrottled_usec 1500000\n")
    assert (tmp_path / "cpu.max").read_text() == "20000 10000"
    assert (tmp_path / "cpu.weight.nice").read_text() == "10"
    assert (group.cpu_s(), group.throttled_s()) == (2.5, 1.5)
    (tmp_path / "cpu.stat").write_text("usage_usec 1\n")  # no quota can be set here
    assert group.throttled_s() == 0


def test_version_1_is_found_where_this_process_is(tmp_path: Path) -> None:
    (tmp_path / "cpu,cpuacct" / "session").mkdir(parents=True)
    proc = fake_proc(
        tmp_path,
        [
            f"30 25 0:26 / {tmp_path}/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct",
            "31 25 0:27 / /tmp rw - tmpfs tmpfs rw",
        ],
        ["4:cpu,cpuacct:/session", "0::/"],
    )
    place = tmp_path / "cpu,cpuacct" / "session"
    assert list(candidates(proc)) == [Hierarchy(1, place, place)]


def test_container_that_sees_a_part_of_version_1(tmp_path: Path) -> None:
    for name in ("cpu", "cpuacct"):
        (tmp_path / name).mkdir()
    proc = fake_proc(
        tmp_path,
        [
            f"30 25 0:26 /docker/abc {tmp_path}/cpu ro - cgroup cgroup rw,cpu",
            f"31 25 0:27 /docker/abc {tmp_path}/cpuacct ro - cgroup cgroup rw,cpuacct",
        ],
        ["4:cpu:/docker/abc", "3:cpuacct:/docker/abc"],
    )
    assert list(candidates(proc)) == [Hierarchy(1, tmp_path / "cpu", tmp_path / "cpuacct")]


def test_version_2_looks_beside_and_above_this_process(tmp_path: Path) -> None:
    scope = tmp_path / "user.slice" / "app.slice" / "terminal.scope"
    scope.mkdir(parents=True)
    for directory, controllers, given in [
        (scope, "memory", ""),  # it has no CPU controller to give
        (scope.parent, "cpu memory", "memory"),  # it has, and gives it when asked
        (scope.parents[1], "cpu memory", "cpu memory"),
        (tmp_path, "cpu memory", "cpu memory"),
    ]:
        (directory / "cgroup.controllers").write_text(controllers)
        (directory / "cgroup.subtree_control").write_text(given)
    mount = f"30 25 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw"
    proc = fake_proc(tmp_path, [mount], ["0::/user.slice/app.slice/terminal.scope"])
    found = [hierarchy.cpu for hierarchy in candidates(proc)]
    assert found == [scope.parent, scope.parents[1], tmp_path]
    assert (scope.parent / "cgroup.subtree_control").read_text() == "+cpu"


def test_no_hierarchy_at_all(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no control group has a CPU controller"):
        find_hierarchy(tmp_path)
