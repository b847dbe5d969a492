"""Virtual environments of the matrix: built once by uv, for as long as what was asked for is the same."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".cache" / "matrix"
BUILD_S: Final = 120.0
ASKED_S: Final = 20.0
_UV: Final = str(Path(sys.executable).with_name("uv"))


@cache
def interpreter_of(version: str) -> tuple[Path, str] | None:
    """Return a Python like `3.13` on PATH or in pyenv, and its full version; None if there is none."""
    for candidate in _candidates(version):
        asked = subprocess.run(
            [str(candidate), "-c", "import sys; print(sys.version)"],
            check=False,
            capture_output=True,
            text=True,
            timeout=ASKED_S,
        )
        if asked.returncode == 0 and asked.stdout.startswith(f"{version}."):
            return candidate, asked.stdout.strip()
    return None


def _candidates(version: str) -> Iterator[Path]:
    """Programs that may be this Python; a shim of pyenv only says that no such version is set."""
    if found := shutil.which(f"python{version}"):
        yield Path(found)
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True)


def environment_of(packages: tuple[str, ...], interpreter: tuple[Path, str] | None = None) -> Path:
    """Return the folder of programs of an environment with these packages, by default of this Python."""
    program, version = interpreter or (Path(sys.executable), sys.version)
    key = hashlib.sha256("\n".join((version, *packages)).encode()).hexdigest()[:16]
    folder = CACHE / key
    if not (folder / "whole").exists():
        with _alone(CACHE / f"{key}.lock"):
            if not (folder / "whole").exists():  # another worker of pytest has built it meanwhile
                python = str(folder / "bin/python")
                _uv("venv", "--quiet", "--clear", "--python", str(program), str(folder))
                _uv("pip", "install", "--quiet", "--python", python, *packages)
                (folder / "whole").touch()
    return folder / "bin"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process at a time in; the others wait for as long as that takes."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def versions_of(programs: Path) -> dict[str, str]:
    """Of every package in an environment, by its name in lower case."""
    listed = _uv("pip", "list", "--format", "json", "--python", str(programs / "python"))
    return {package["name"].lower(): package["version"] for package in json.loads(listed)}


def _uv(*arguments: str) -> str:
    ended = subprocess.run(
        [_UV, *arguments], check=False, capture_output=True, text=True, timeout=BUILD_S, cwd=ROOT
    )
    if ended.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)}: exit {ended.returncode}\n{ended.stderr}")
    return ended.stdout
