"""Where the embedded stack keeps its files, and as whom PostgreSQL runs."""

import os
import pwd
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rushhour.errors import StackError
from rushhour.process.tools import Account

ROOTS_CACHE: Final = Path("/var/cache/rushhour")


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where templates and work directories lie: RUSHHOUR_CACHE, or the platform's cache.

    Root's lies in /var/cache, since the account that PostgreSQL then runs as cannot enter /root.
    """
    if chosen := environ.get("RUSHHOUR_CACHE"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return ROOTS_CACHE
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "rushhour"


def server_account() -> Account | None:
    """Return the account to run PostgreSQL as, which refuses root; None: the caller's own."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_name, found.pw_uid, found.pw_gid)
    raise StackError(
        "PostgreSQL refuses to run as root, and this system has neither user postgres nor nobody"
    )


def first_closed(path: Path, account: Account | None) -> Path | None:
    """Return the first directory on the way to `path` that the account may not enter, if any."""
    if account is None:
        return None
    way = [*reversed(path.resolve().parents), path.resolve()]
    return next((step for step in way if step.is_dir() and not _may_enter(step.stat(), account)), None)


def _may_enter(found: os.stat_result, account: Account) -> bool:
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def open_cache(cache: Path, account: Account | None) -> Path:
    """Make the cache, and be sure that PostgreSQL reaches it. Raises StackError that says what to do."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(
            f"the cache {cache} cannot be made: {error}; set RUSHHOUR_CACHE to a directory you may write to"
        ) from error
    if (closed := first_closed(cache, account)) is not None and account is not None:
        raise StackError(
            f"PostgreSQL runs as {account.name}, who cannot enter {closed} and so cannot reach the cache "
            f"{cache}; set RUSHHOUR_CACHE to a directory that every user can enter"
        )
    return cache


def configuration_dir() -> Path:
    """Return where postgresql.conf and pg_hba.conf lie: in the source tree, or in the installed package."""
    package = Path(__file__).resolve().parents[1]
    candidates = (package.parent / "infra" / "postgres", package / "infra" / "postgres")
    for candidate in candidates:
        if (candidate / "postgresql.conf").is_file():
            return candidate
    raise StackError(f"postgresql.conf is missing; looked in {' and '.join(map(str, candidates))}")


def give(path: Path, account: Account | None) -> None:
    """Hand a file or directory to the account that PostgreSQL runs as, unless that is the caller."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def copy_configuration(directory: Path) -> None:
    """Put the configuration where the servers' account can read it, wherever the source tree lies."""
    for name in ("postgresql.conf", "pg_hba.conf"):
        copied = directory / name
        shutil.copyfile(configuration_dir() / name, copied)
        copied.chmod(0o644)
