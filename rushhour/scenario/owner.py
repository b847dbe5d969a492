"""Who may have written a scenario file: it is a program, as it names commands to run."""

import os
import stat
from pathlib import Path


def planted(path: Path) -> str | None:
    """Say why a scenario file may be another user's, and what to do; None where it is the caller's choice.

    A group may write to it: with a umask of 002 each user has a group of their own.
    """
    try:
        file, folder = path.stat(), path.resolve().parent.stat()
    except (OSError, ValueError, RuntimeError):
        return None  # reading it says what is wrong
    if not stat.S_ISREG(file.st_mode):
        return None
    why = "and it names commands that rushhour runs"
    if file.st_mode & stat.S_IWOTH:
        return f"{path}: every user may write to it, {why}; look at it, then: chmod o-w {path}"
    return _in_open_folder(path, file.st_uid, folder.st_mode, why) if folder.st_mode & stat.S_IWOTH else None


def _in_open_folder(path: Path, owner: int, mode: int, why: str) -> str | None:
    parent = path.resolve().parent
    if not mode & stat.S_ISVTX:
        return f"{path}: every user may replace it in {parent}, {why}; look at it, then: chmod o-w {parent}"
    if owner in (os.geteuid(), 0):
        return None
    return (
        f"{path}: a file of another user (id {owner}) in a folder where everybody may put one, {why}; "
        "look at it, then copy it to a folder of your own"
    )
