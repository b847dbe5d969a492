"""Tells requests that the sender itself could not send from those that the service did not answer (pure)."""

import errno
from collections.abc import Iterator
from enum import StrEnum
from typing import Final


class Lacking(StrEnum):
    """What the sender itself lacks where it can open no connection, whatever the service does."""

    FILE = "no_file"
    PORT = "no_port"
    MEMORY = "no_memory"


_LACKING: Final = {
    errno.EMFILE: Lacking.FILE,
    errno.ENFILE: Lacking.FILE,
    errno.EADDRNOTAVAIL: Lacking.PORT,
    errno.ENOBUFS: Lacking.MEMORY,
    errno.ENOMEM: Lacking.MEMORY,
}
_DEPTH: Final = 8  # of exceptions within exceptions


def lacking(exception: BaseException | None) -> Lacking | None:
    """Return what this process lacked to send a request that ended with `exception`, or None."""
    for each in _chain(exception):
        if isinstance(each, OSError) and (found := _LACKING.get(each.errno or 0)):
            return found
    return None


def _chain(exception: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that led to it: clients wrap the system's in their own."""
    for _ in range(_DEPTH):
        if exception is None:
            return
        yield exception
        exception = getattr(exception, "original", None) or exception.__cause__ or exception.__context__
