"""Seeded data for Compose: the primary's data directory as one file in the cache."""

import os
import tarfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg2
from docker import DockerClient
from docker.models.containers import Container

from rushhour.errors import StackError
from rushhour.process.waiting import wait_until
from rushhour.scenario.model import Data
from rushhour.stack import Progress
from rushhour.stack.compose.command import ComposeCommand
from rushhour.stack.compose.engine import ENGINE_ERRORS, last_reason
from rushhour.stack.compose.images import Image
from rushhour.stack.postgres.kept import KeptData
from rushhour.stack.postgres.seeding.settings import SEEDING
from rushhour.stack.postgres.server import connected, last_line
from rushhour.stack.postgres.template import Seeder, key_of

DATA: Final = "data.tar"
FORMAT: Final = 1  # raise it when what a template holds changes
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 120
COMMAND_TIMEOUT_S: Final = 120.0
LOG_LINES: Final = 15


def templates_root(cache: Path) -> Path:
    """Return where a cache keeps templates."""
    return cache / "compose"


@dataclass(frozen=True, slots=True)
class ComposeTemplates:
    """The kept data of one cache."""

    root: Path
    seeder: Seeder

    def held(self, seeding: "Seeding", progress: Progress) -> AbstractContextManager[Path]:
        """Hold the directory with data.tar, built when it is missing; it is not removed while this lasts."""
        image_id = seeding.image.id.removeprefix("sha256:")[:12]
        name = key_of(self.seeder, seeding.schema, seeding.data, f"{image_id}-v{FORMAT}")
        kept = KeptData(self.root, seeding.command.guard, mode=0o700)  # the data holds password hashes
        return kept.held(
            name, lambda path: self._build(path, seeding, progress), f"{seeding.data.size} data", progress
        )

    def _build(self, building: Path, seeding: "Seeding", progress: Progress) -> None:
        """Seed a server, and keep its data directory."""
        try:
            progress("start a server to seed")
            container = seeding.start()
            seeding.wait(container)
            self.seeder.fill(seeding.role_dsn, seeding.schema, seeding.data, progress)
            progress("keep the seeded data")
            stop_clean(container)
            save(container, seeding.image.environment["PGDATA"], building / DATA)
            container.remove()
        except psycopg2.Error as error:
            raise StackError(f"seeding failed: {str(error).strip()}") from error
        except ENGINE_ERRORS as error:
            raise StackError(f"the seeded data cannot be kept in {building}: {last_reason(error)}") from error


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
        """Return the primary as the Compose file has it, with settings for loading."""
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
        """Wait until it takes connections. Raises StackError with its last lines when it does not."""

        def check() -> None:
            container.reload()
            if container.status != "running":
                raise StackError(
                    f"the server to seed is {container.status}; its last lines:", last_lines(container)
                )

        wait_until(
            "the server to seed to take connections",
            self._refusal,
            START_TIMEOUT_S,
            "its last lines:",
            check=check,
            tail=lambda: last_lines(container),
        )

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
    """Return the last lines of a container's log; what is wrong with the log when it cannot be read."""
    try:
        log = container.logs(tail=lines)
    except ENGINE_ERRORS as error:
        return [f"(its log cannot be read: {last_reason(error)})"]
    return log.decode(errors="replace").splitlines()
