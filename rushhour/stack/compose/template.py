"""Seeded data for Compose: the primary's data directory as one file in the cache."""

import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg2
from docker import DockerClient
from docker.models.containers import Container

from rushhour.errors import StackError
from rushhour.scenario.model import Data
from rushhour.stack import Progress
from rushhour.stack.compose.command import ComposeCommand
from rushhour.stack.compose.engine import ENGINE_ERRORS, last_reason
from rushhour.stack.compose.images import Image
from rushhour.stack.locks import POLL_S, locked, try_lock
from rushhour.stack.postgres.seeding.settings import SEEDING
from rushhour.stack.postgres.server import connected, last_line
from rushhour.stack.postgres.template import Seeder, lock_of, remove_unused

DATA: Final = "data.tar"
FORMAT: Final = 1  # raise it when what a template holds changes
BUILD_TIMEOUT_S: Final = 3600.0
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 120
COMMAND_TIMEOUT_S: Final = 120.0
LOG_LINES: Final = 15


def templates_root(cache: Path) -> Path:
    """Where a cache keeps them."""
    return cache / "compose"


@dataclass(frozen=True, slots=True)
class ComposeTemplates:
    """The kept data of one cache."""

    root: Path
    seeder: Seeder

    def path(self, image: Image, schema: Path, data: Data) -> Path:
        """Its directory, named after size, seed, PostgreSQL's image and a hash of schema and seeding code."""
        try:
            print_of = self.seeder.fingerprint(schema, data)
        except OSError as error:
            raise StackError(f"the schema {schema} cannot be read: {error}") from error
        image_id = image.id.removeprefix("sha256:")[:12]
        return self.root / f"{data.size}-seed{data.seed}-{image_id}-v{FORMAT}-{print_of[:16]}"

    @contextmanager
    def held(self, path: Path, seeding: "Seeding", progress: Progress) -> Iterator[Path]:
        """The directory that holds data.tar, built when it is missing; not removed while this lasts."""
        self.root.mkdir(mode=0o700, exist_ok=True)  # the data holds password hashes
        while True:
            self._be_there(path, seeding, progress)
            with locked(lock_of(path), shared=True, timeout_s=BUILD_TIMEOUT_S):
                if path.exists():  # else it was removed in between, on request
                    os.utime(path)  # what nobody used for long is removed some day
                    yield path
                    return

    def _be_there(self, path: Path, seeding: "Seeding", progress: Progress) -> None:
        """Build it, or wait until another run has."""
        began_s = time.monotonic()
        while not path.exists():
            with try_lock(lock_of(path)) as ours:
                if ours and not path.exists():
                    remove_unused(self.root)
                    self._build(path, seeding, progress)
            if not ours:
                waited_s = time.monotonic() - began_s
                if waited_s > BUILD_TIMEOUT_S:
                    raise StackError(f"waited {waited_s:.0f} s for another run to build {path}")
                progress(f"another run builds the {seeding.data.size} data")
                time.sleep(POLL_S)

    def _build(self, path: Path, seeding: "Seeding", progress: Progress) -> None:
        """Make it beside its place and rename it when whole; the caller holds the lock."""
        building = path.with_name(f".building-{path.name}")
        shutil.rmtree(building, ignore_errors=True)  # what an interrupted build left
        building.mkdir()
        try:
            progress("start a server to seed")
            container = seeding.start()
            seeding.wait(container)
            self.seeder.fill(seeding.role_dsn, seeding.schema, seeding.data, progress)
            progress("keep the seeded data")
            stop_clean(container)
            save(container, seeding.image.environment["PGDATA"], building / DATA)
            container.remove()
            building.rename(path)
        except psycopg2.Error as error:
            raise StackError(f"seeding failed: {str(error).strip()}") from error
        except ENGINE_ERRORS as error:
            raise StackError(f"the seeded data cannot be kept in {building}: {last_reason(error)}") from error
        finally:
            shutil.rmtree(building, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Seeding:
    """A server of this run's project, on the project's own volume: the run goes on with what is seeded."""

    command: ComposeCommand
    client: DockerClient
    image: Image  # PostgreSQL's
    role_dsn: str
    schema: Path
    data: Data

    def start(self) -> Container:
        """The primary as the Compose file has it, with settings for loading."""
        name = f"{self.command.project}-seed"
        options = [f"-c{setting}={value}" for setting, value in SEEDING.items()]
        fixed = (
            "config_file=/etc/rushhour/postgresql.conf",
            "hba_file=/etc/rushhour/pg_hba.conf",
            "listen_addresses=*",
        )
        server = ["postgres", *(f"-c{setting}" for setting in fixed), *options]
        self.command.run(
            *("run", "--detach", "--service-ports", "--name", name, "primary", *server),
            timeout_s=COMMAND_TIMEOUT_S,
            RUSHHOUR_PRIMARY_QUOTA="0",
            RUSHHOUR_PRIMARY_PERIOD="0",
            RUSHHOUR_PRIMARY_CPUSET="",
        )
        return self.client.containers.get(name)

    def wait(self, container: Container) -> None:
        """Until it takes connections. Raises StackError with its last lines when it does not."""
        began_s = time.monotonic()
        while (seen := self._refusal()) is not None:
            container.reload()
            waited_s = time.monotonic() - began_s
            if container.status != "running" or waited_s > START_TIMEOUT_S:
                raise StackError(
                    f"waited {waited_s:.1f} s for the server to seed; it is {container.status}; "
                    f"last seen: {seen}; its last lines:",
                    last_lines(container),
                )
            time.sleep(0.1)

    def _refusal(self) -> str | None:
        try:
            with connected(self.role_dsn):
                return None
        except psycopg2.OperationalError as error:
            return last_line(error)


def stop_clean(container: Container) -> None:
    """Raises StackError when the server did not end with a checkpoint."""
    container.stop(timeout=STOP_TIMEOUT_S)
    code = container.wait(timeout=STOP_TIMEOUT_S)["StatusCode"]
    if code != 0:
        raise StackError(
            f"the seeded server did not shut down cleanly within {STOP_TIMEOUT_S} s (exit code {code}):",
            last_lines(container),
        )


def save(container: Container, directory: str, target: Path) -> None:
    """Copy a directory of a stopped container into a tar file, whole and on the disk."""
    stream, _ = container.get_archive(directory, chunk_size=1 << 20)
    with target.open("wb") as file:
        for chunk in stream:
            file.write(chunk)
        os.fsync(file.fileno())
    if not tarfile.is_tarfile(target):
        raise StackError(f"the engine's copy of {directory} is no tar file: {target}")


def last_lines(container: Container, lines: int = LOG_LINES) -> list[str]:
    """The last lines of a container's log; what is wrong with the log when it cannot be read."""
    try:
        log = container.logs(tail=lines)
    except ENGINE_ERRORS as error:
        return [f"(its log cannot be read: {last_reason(error)})"]
    return log.decode(errors="replace").splitlines()


def remove_compose_templates(cache: Path) -> tuple[list[Path], list[Path]]:
    """Remove the kept data that no run uses; returns those removed, and those that are in use."""
    removed, kept = [], []
    for lock in sorted(templates_root(cache).glob("*.lock")):
        path = lock.with_name(lock.name.removesuffix(".lock"))
        with try_lock(lock) as ours:
            if not ours:
                kept.append(path)
                continue
            shutil.rmtree(path.with_name(f".building-{path.name}"), ignore_errors=True)
            if path.exists():
                shutil.rmtree(path)
                removed.append(path)
    return removed, kept
