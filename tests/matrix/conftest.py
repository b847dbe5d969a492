"""The servers that the matrix's drivers talk to."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushhour.process.guard import Guard
from rushhour.stack.postgres.bare import BareServer, bare_server
from tests.free_ports import free_port
from tests.matrix.environments import ROOT

UP_S = 120.0


@pytest.fixture(scope="session")
def postgres() -> Iterator[BareServer]:
    """An empty PostgreSQL, in a directory that its account can enter."""
    cache = Path(tempfile.mkdtemp(prefix="rushhour-matrix-"))
    cache.chmod(0o755)
    with pytest.MonkeyPatch.context() as environment, Guard() as guard:
        environment.setenv("RUSHHOUR_CACHE", str(cache))
        with bare_server(guard, cache) as server:
            yield server
    shutil.rmtree(cache)


@pytest.fixture(scope="session")
def mariadb_port() -> Iterator[int]:
    """An empty MariaDB with a database `service`, open to anyone on loopback; skips where there is none."""
    program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:{ROOT / '.cache/mariadb/bin'}")
    if program is None:
        pytest.skip("no mariadbd on PATH nor in .cache/mariadb: `make mariadb` unpacks Debian's")
    with tempfile.TemporaryDirectory(prefix="rushhour-mariadb-") as folder:
        data, port = Path(folder, "data"), free_port()
        data.mkdir()
        common = [program, "--no-defaults", f"--datadir={data}"]
        if messages := _messages(Path(program)):
            common.append(f"--lc-messages-dir={messages}")
        if os.geteuid() == 0:
            common.append("--user=root")
        subprocess.run(
            [*common, "--bootstrap"],
            input="create database service;",
            text=True,
            check=True,
            capture_output=True,
            timeout=UP_S,
        )
        options = ["--skip-grant-tables", "--bind-address=127.0.0.1", f"--port={port}"]
        with Path(folder, "log").open("w") as log:
            server = subprocess.Popen(
                [*common, *options, f"--socket={folder}/socket"], stdout=log, stderr=log
            )
        try:
            _wait_for(port, server, Path(folder, "log"))
            yield port
        finally:
            server.kill()
            server.wait()


def _messages(program: Path) -> Path | None:
    """Where an unpacked server has its messages, which it would look for below /usr."""
    unpacked = program.parents[1] / "root/usr/share/mysql/english"
    return unpacked if unpacked.is_dir() else None


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + UP_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MariaDB at port {port}: {error}\n{log.read_text()}") from error
            time.sleep(0.05)
        else:
            return
