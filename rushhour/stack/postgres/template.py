"""Seeded clusters kept under the cache: built once, cloned for every run."""

import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

import psycopg2

from rushhour.errors import StackError
from rushhour.process.child import Child, tail
from rushhour.process.guard import Guard
from rushhour.scenario.model import Data
from rushhour.stack import Progress
from rushhour.stack.locks import POLL_S, locked, try_lock
from rushhour.stack.paths import copy_configuration
from rushhour.stack.postgres.cluster import (
    base_backup,
    create_roles,
    drop_spare_databases,
    initdb,
    sync_cluster,
)
from rushhour.stack.postgres.programs import Installation
from rushhour.stack.postgres.seeding.settings import SEEDING
from rushhour.stack.postgres.server import PostgresServer, Secrets, start_server
from rushhour.stack.work import CLUSTERS, in_use

FORMAT: Final = 1  # raise it when what a template holds changes
BUILD_TIMEOUT_S: Final = 3600.0
UNUSED_S: Final = 14 * 86_400.0
CLEAN_STOP_S: Final = 120.0

# A standby must not have lower settings than the primary had when its base was taken, so the base is taken
# with the lowest that a scenario may ask for.
_LOWEST: Final = {"max_connections": "10"}
_BASE: Final = _LOWEST | {"autovacuum": "off", "wal_recycle": "off"}


class Seeder(Protocol):
    """Fills an empty database; `rushhour.stack.postgres.seeding.seed` is one."""

    def fingerprint(self, schema: Path, data: Data, /) -> str:
        """Changes whenever what `fill` would write changes."""
        ...

    def fill(self, dsn: str, schema: Path, data: Data, progress: Progress, /) -> object:
        """Create the tables and their rows; `dsn` is that of the owner of the empty database."""
        ...


@dataclass(frozen=True, slots=True)
class Template:
    """A kept pair of clusters."""

    path: Path
    passwords: Secrets
    size_bytes: int


class TemplateStore:
    """The templates of one cache: one run builds while others wait, and none removes what one clones."""

    def __init__(self, cache: Path, guard: Guard, installation: Installation, seeder: Seeder) -> None:
        self.root = cache / "templates"
        self.guard = guard
        self.installation = installation
        self.seeder = seeder

    def key(self, schema: Path, data: Data) -> str:
        """The directory's name: size, seed, PostgreSQL version, and a hash of schema and seeding code."""
        try:
            print_of = self.seeder.fingerprint(schema, data)
        except OSError as error:
            raise StackError(f"the schema {schema} cannot be read: {error}") from error
        version = self.installation.version
        return f"{data.size}-seed{data.seed}-pg{version}-v{FORMAT}-{print_of[:16]}"

    @contextmanager
    def held(self, schema: Path, data: Data, log: Path, progress: Progress) -> Iterator[Template]:
        """The template, built when it is missing; it is not removed while this context lasts."""
        self.root.mkdir(exist_ok=True)
        path = self.root / self.key(schema, data)
        while True:
            self._be_there(path, schema, data, log, progress)
            with locked(lock_of(path), shared=True, timeout_s=BUILD_TIMEOUT_S):
                if path.exists():  # else it was removed in between, on request
                    os.utime(path)  # what nobody used for long is removed some day
                    yield read_template(path)
                    return

    def _be_there(self, path: Path, schema: Path, data: Data, log: Path, progress: Progress) -> None:
        """Build it, or wait until another run has."""
        began_s = time.monotonic()
        while not path.exists():
            with try_lock(lock_of(path)) as ours:
                if ours and not path.exists():
                    remove_unused(self.root)
                    self._build(path, schema, data, log, progress)
            if not ours:
                waited_s = time.monotonic() - began_s
                if waited_s > BUILD_TIMEOUT_S:
                    raise StackError(f"waited {waited_s:.0f} s for another run to build {path}")
                progress(f"another run builds the {data.size} data")
                time.sleep(POLL_S)

    def _build(self, path: Path, schema: Path, data: Data, log: Path, progress: Progress) -> None:
        """Build in a directory of its own and rename it when whole; the caller holds the template's lock."""
        remove_dead_builds(path)
        build = path.with_name(f".building-{path.name}-{uuid.uuid4().hex[:8]}")
        build.mkdir()
        self.guard.remove_at_death(build)
        try:
            passwords = Secrets()
            copy_configuration(build)
            primary = build / "primary"
            progress("initdb")
            initdb(self.guard, self.installation, primary, passwords)
            with self._started(primary, build, passwords, log, _LOWEST | SEEDING) as server:
                create_roles(server)
                drop_spare_databases(server)
                self.seeder.fill(server.role_dsn, schema, data, progress)
            progress("base backup for the replica")
            with self._started(primary, build, passwords, log, _BASE) as server:
                base_backup(self.guard, self.installation, server, build / "replica", build)
            # Seeding ran without fsync: a power cut after the rename must not leave a hollow template.
            for name in CLUSTERS:
                sync_cluster(self.guard, self.installation, build / name)
            write_manifest(build, passwords)
            build.rename(path)
        except psycopg2.Error as error:
            raise StackError(
                f"seeding failed: {str(error).strip()}; the last lines of {log}:", tail(log)
            ) from error
        except OSError as error:
            raise StackError(f"the template cannot be built in {build}: {error}") from error
        finally:
            shutil.rmtree(build, ignore_errors=True)

    @contextmanager
    def _started(
        self, data: Path, build: Path, passwords: Secrets, log: Path, settings: Mapping[str, str]
    ) -> Iterator[PostgresServer]:
        server = start_server(
            self.guard,
            self.installation,
            "template",
            data,
            configuration=build,
            passwords=passwords,
            log=log,
            settings=settings,
            stop_signal=signal.SIGINT,  # a fast shutdown ends with a checkpoint
        )
        try:
            yield server
        except BaseException:
            server.child.stop(grace_s=0)
            raise
        stop_clean(server.child)


def lock_of(template: Path) -> Path:
    """The file that is locked while the template is built, cloned or removed."""
    return template.with_name(template.name + ".lock")


def stop_clean(child: Child) -> None:
    """Stop a server so that its data directory is whole. Raises StackError when it did not end that way."""
    child.stop(grace_s=CLEAN_STOP_S)
    if child.poll() != 0:
        raise StackError(
            f"{child.name} did not shut down cleanly within {CLEAN_STOP_S:g} s (exit code {child.poll()}):",
            child.tail(),
        )


def write_manifest(build: Path, passwords: Secrets) -> None:
    """Passwords and size, readable by the owner alone."""
    size = sum(file.stat().st_size for file in build.rglob("*") if file.is_file() and not file.is_symlink())
    manifest = build / "manifest.json"
    manifest.touch(mode=0o600)
    with manifest.open("w") as file:
        json.dump({"passwords": asdict(passwords), "size_bytes": size}, file)
        file.flush()
        os.fsync(file.fileno())


def read_template(path: Path) -> Template:
    """Raises StackError when it is not a whole template."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        return Template(path, Secrets(**manifest["passwords"]), int(manifest["size_bytes"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"{path} is not a whole template ({error}); `rushhour down --templates` removes it"
        ) from error


def remove_dead_builds(path: Path) -> None:
    """What interrupted builds of this template left; the caller holds its lock, so no live build is met."""
    for dead in path.parent.glob(f".building-{path.name}-*"):
        if not in_use(dead / "primary"):
            shutil.rmtree(dead, ignore_errors=True)


def remove_unused(root: Path, unused_s: float = UNUSED_S) -> list[Path]:
    """Remove the templates that no run has used for so long: each change of schema or seeding leaves one."""
    removed = []
    for lock in sorted(root.glob("*.lock")):
        path = lock.with_name(lock.name.removesuffix(".lock"))
        with try_lock(lock) as ours:
            if ours and path.exists() and time.time() - path.stat().st_mtime > unused_s:
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
    return removed


def remove_templates(cache: Path) -> tuple[list[Path], list[Path]]:
    """Remove every template that no run uses; returns those removed, and those that are in use."""
    removed, kept = [], []
    for lock in sorted((cache / "templates").glob("*.lock")):
        path = lock.with_name(lock.name.removesuffix(".lock"))
        with try_lock(lock) as ours:
            if not ours:
                kept.append(path)
                continue
            remove_dead_builds(path)
            if path.exists():
                shutil.rmtree(path)
                removed.append(path)
    return removed, kept
