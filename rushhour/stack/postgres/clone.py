"""Copy a pair of clusters as fast as this system can."""

import os
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Final

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.stack.work import CLUSTERS, require_room

CLONE_TIMEOUT_S: Final = 600.0
ROOM_BESIDE_BYTES: Final = 128 * 2**20  # WAL and what the run itself writes


def clone(template: Path, size_bytes: int, work: Path, guard: Guard) -> None:
    """Copy both clusters into a work directory, at once; by reference where the file system can."""
    require_room(work, size_bytes + ROOM_BESIDE_BYTES, "cloning the databases")
    copies = {name: _copying(template / name, work / name, guard) for name in CLUSTERS}
    try:
        for name, copying in copies.items():
            _, said = copying.communicate(timeout=CLONE_TIMEOUT_S)
            if copying.returncode != 0:
                lines = said.decode(errors="replace").splitlines()[-5:]
                raise StackError(f"the {name}'s data cannot be copied to {work}; cp wrote:", lines)
    except subprocess.TimeoutExpired:
        raise StackError(f"copying {template} did not end within {CLONE_TIMEOUT_S:g} s") from None
    finally:
        for copying in copies.values():
            if copying.poll() is None:
                copying.kill()
                copying.wait()


def _copying(source: Path, target: Path, guard: Guard) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["cp", *_cp_options(), str(source), str(target)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C", **guard.environment},
        start_new_session=True,
    )


@lru_cache(maxsize=1)
def _cp_options() -> tuple[str, ...]:
    """Return how this system's cp copies by reference: GNU's, macOS's, or not at all."""
    if os.uname().sysname == "Darwin":
        return ("-c", "-R", "-p")
    asked = subprocess.run(["cp", "--version"], capture_output=True, text=True, timeout=10, check=False)
    return ("-a", "--reflink=auto") if "GNU" in asked.stdout else ("-a",)
