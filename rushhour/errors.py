"""What can go wrong, by who has to act on it; `cli` turns each into an exit code."""

from collections.abc import Sequence


class RushhourError(Exception):
    """A failure that is told to the user in words, never as a traceback."""


class UsageError(RushhourError):
    """Bad input: every problem found, each one line, with file and line where there is one."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class StackError(RushhourError):
    """What stands under test did not come up or broke: what happened, the numbers, the log's last lines."""

    def __init__(self, message: str, log_tail: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *(f"  | {line}" for line in log_tail)]))
        self.log_tail = tuple(log_tail)


class ServiceDiedError(StackError):
    """The service under test ended by itself; `how` says in which way: "exit code 9"."""

    def __init__(self, how: str, message: str, log_tail: Sequence[str] = ()) -> None:
        super().__init__(message, log_tail)
        self.how = how


class RunDataError(RushhourError):
    """A run directory that cannot be read as one."""


class UnavailableError(RushhourError):
    """Something of the harness's own cannot be had now: a lock that another holds, a busy database."""
