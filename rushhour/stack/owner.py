"""Who started what stands in a container engine: labels, and whether that harness has ended.

Several harnesses may share one engine and see different file systems: from other machines, or from
containers. A lock file that is missing says nothing then. A work directory is judged only by a harness that
sees the same cache folder on the same machine.
"""

import os
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rushhour.errors import StackError
from rushhour.stack.locks import is_free

WORK_LABEL: Final = "rushhour.work"  # a directory that its harness keeps locked
MACHINE_LABEL: Final = "rushhour.machine"
OWNER_LABEL: Final = "rushhour.owner"  # the id that the cache folder holds
_OWNER_FILE: Final = "owner"
_MACHINE_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def owner_labels(work: Path) -> dict[str, str]:
    """Return the labels of what a harness starts for its work directory, CACHE/work/NAME."""
    return {WORK_LABEL: str(work), MACHINE_LABEL: machine(), OWNER_LABEL: _make_owner(_cache_of(work))}


def owner_variables(work: Path) -> dict[str, str]:
    """Return the owner's variables for infra/compose.yaml, less the work directory."""
    labels = owner_labels(work)
    return {"RUSHHOUR_MACHINE": labels[MACHINE_LABEL], "RUSHHOUR_OWNER": labels[OWNER_LABEL]}


def has_ended(labels: Mapping[str, str]) -> bool:
    """Whether the harness that set these labels has certainly ended; False when that cannot be known."""
    if not (named := labels.get(WORK_LABEL)):
        return False
    work = Path(named)
    try:
        if OWNER_LABEL not in labels:  # an older rushhour's: only a lock file that is there says something
            return (work / "lock").exists() and is_free(work / "lock")
        if labels.get(MACHINE_LABEL) != machine() or _read_owner(_cache_of(work)) != labels[OWNER_LABEL]:
            return False
        return is_free(work / "lock")
    except OSError:
        return False  # another user's: not ours to judge


def machine() -> str:
    """Return this machine's id; its host name where it has none."""
    for path in _MACHINE_FILES:
        try:
            if found := path.read_text(encoding="ascii").strip():
                return found
        except (OSError, ValueError):
            continue
    return socket.gethostname()


def _cache_of(work: Path) -> Path:
    return work.parent.parent


def _make_owner(cache: Path) -> str:
    """Return the cache folder's id, made when there is none; all harnesses of this folder read the same."""
    path = cache / _OWNER_FILE
    draft = cache / f"{_OWNER_FILE}.{uuid.uuid4().hex}"
    try:
        if not path.exists():
            draft.write_text(uuid.uuid4().hex, encoding="ascii")
            try:
                os.link(draft, path)  # whole or not at all, and never over another's
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise StackError(f"the cache's id {path} cannot be written: {error}") from error


def _read_owner(cache: Path) -> str | None:
    try:
        return (cache / _OWNER_FILE).read_text(encoding="ascii")
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
