"""Seeded clusters kept under the cache: built once, cloned for every run."""

import json
import os
import signal
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
from rushhour.stack.paths import copy_configuration
from rushhour.stack.postgres.cluster import (
    base_backup,
    create_roles,
    drop_spare_databases,
    initdb,
    sync_cluster,
)
from rushhour.stack.postgres.kept import KeptData
from rushhour.stack.postgres.programs import Installation
from rushhour.stack.postgres.seeding.settings import SEEDING
from rushhour.stack.postgres.server import PostgresServer, Secrets, start_server
from rushhour.stack.work import CLUSTERS

FORMAT: Final = 1  # raise it when what a template holds changes
CLEAN_STOP_S: Final = 120.0

# A standby must not have lower settings than the primary had when its base was taken, so the base is taken
# with the lowest that a scenario may ask for.
_LOWEST: Final = {"max_connections": "10"}
_BASE: Final = _LOWEST | {"autovacuum": "off", "wal_recycle": "off"}


class Seeder(Protocol):
    """Fills an empty database; `rushhour.stack.postgres.seeding.seed` is one."""

    def fingerprint(self, schema: Path, data: Data, /) -> str:
        """Return a text that changes whenever what `fill` would write changes."""
        ...

    def fill(self, dsn: str, schema: Path, data: Data, progress: Progress, /) -> object:
        """Create the tables and their rows; `dsn` is that of the owner of the empty database."""
        ...


def key_of(seeder: Seeder, schema: Path, data: Data, made_by: str) -> str:
    """Return the directory's name: size, seed, what made it, and a hash of schema and seeding code."""
    try:
        fingerprint = seeder.fingerprint(schema, data)
    except OSError as error:
        raise StackError(f"the schema {schema} cannot be read: {error}") from error
    return f"{data.size}-seed{data.seed}-{made_by}-{fingerprint[:16]}"


def templates_root(cache: Path) -> Path:
    """Return where a cache keeps templates."""
    return cache / "templates"


@dataclass(frozen=True, slots=True)
class Template:
    """A kept pair of clusters."""

    path: Path
    passwords: Secrets
    size_bytes: int


class TemplateStore:
    """The templates of one cache."""

    def __init__(self, cache: Path, guard: Guard, installation: Installation, seeder: Seeder) -> None:
        self.root = templates_root(cache)
        self.guard = guard
        self.installation = installation
        self.seeder = seeder

    def key(self, schema: Path, data: Data) -> str:
        """Return the directory's name: size, seed, PostgreSQL version, a hash of schema and seeding code."""
        return key_of(self.seeder, schema, data, f"pg{self.installation.version}-v{FORMAT}")

    @contextmanager
    def held(self, schema: Path, data: Data, log: Path, progress: Progress) -> Iterator[Template]:
        """Hold the template, built when it is missing; it is not removed while this context lasts."""
        kept = KeptData(self.root, self.guard)

        def build(path: Path) -> None:
            self._build(path, schema, data, log, progress)

        with kept.held(self.key(schema, data), build, f"{data.size} data", progress) as path:
            yield read_template(path)

    def _build(self, build: Path, schema: Path, data: Data, log: Path, progress: Progress) -> None:
        """Seed a primary, and take the replica's base from it."""
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
        except psycopg2.Error as error:
            raise StackError(
                f"seeding failed: {str(error).strip()}; the last lines of {log}:", tail(log)
            ) from error

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


def stop_clean(child: Child) -> None:
    """Stop a server so that its data directory is whole. Raises StackError when it did not end that way."""
    child.stop(grace_s=CLEAN_STOP_S)
    if child.poll() != 0:
        raise StackError(
            f"{child.name} did not shut down cleanly within {CLEAN_STOP_S:g} s (exit code {child.poll()}):",
            child.tail(),
        )


def write_manifest(build: Path, passwords: Secrets) -> None:
    """Write passwords and size, readable by the owner alone."""
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
