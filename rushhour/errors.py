"""Exceptions of rushhour, grouped by who has to act; `cli` maps each to an exit code."""

from collections.abc import Sequence


class RushhourError(Exception):
    """Base class of errors that are shown to the user as a message, never as a traceback."""


class UsageError(RushhourError):
    """The input is invalid; `problems` has one line for each problem, with file and line if known."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class StackError(RushhourError):
    """The stack under test did not come up, or broke; the message ends with the last lines of its log."""

    def __init__(self, message: str, log_tail: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *(f"  | {line}" for line in log_tail)]))
        self.log_tail = tuple(log_tail)


class ServiceDiedError(StackError):
    """The service under test ended by itself; `how` is for example "exit code 9"."""

    def __init__(self, how: str, message: str, log_tail: Sequence[str] = ()) -> None:
        super().__init__(message, log_tail)
        self.how = how


class RunDataError(RushhourError):
    """A run directory is missing or its files cannot be read."""


class NotWrittenError(RunDataError):
    """Files of a run directory cannot be written (read-only, disk full): the OSError is its cause."""


class InsufficientDataError(RushhourError):
    """A run can be read, but does not hold enough to answer the question; the message says what would do."""


class UnavailableError(RushhourError):
    """A resource that rushhour itself needs is not available now, such as a lock or a busy database."""
