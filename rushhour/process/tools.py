"""Runs short programs to their end."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rushhour.errors import StackError
from rushhour.process.guard import Guard


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system user that a child process runs as."""

    name: str
    uid: int
    gid: int


def ask_program(
    command: Sequence[str],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    name: str = "",
    advice: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program and return its output, whatever its exit code.

    Raises StackError if it cannot be started or does not end within `timeout_s`.
    """
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"`{name or ' '.join(command)}`: {error}{advice and '; '}{advice}") from error


def run_tool(
    guard: Guard,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    account: Account | None,
    timeout_s: float,
) -> None:
    """Run a short command. Raises StackError, with the last lines of its output, if it fails."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",  # the harness's own directory may be closed to the account
            env={**environment, **guard.environment},
            timeout=timeout_s,
            check=False,
            start_new_session=True,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    except subprocess.TimeoutExpired as error:
        seen = (error.output or b"").decode(errors="replace").splitlines()[-15:]
        raise StackError(f"{name} did not end within {timeout_s:g} s; it wrote:", seen) from None
    except OSError as error:
        raise StackError(f"{name} cannot be started: {error}") from error
    if done.returncode != 0:
        seen = done.stdout.decode(errors="replace").splitlines()[-15:]
        raise StackError(f"{name} failed with exit code {done.returncode}; it wrote:", seen)
