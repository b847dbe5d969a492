"""Virtual environments of the matrix: built once by uv, for as long as what was asked for is the same."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".cache" / "matrix"
BUILD_S: Final = 120.0
_UV: Final = str(Path(sys.executable).with_name("uv"))


def environment_of(packages: tuple[str, ...]) -> Path:
    """Its folder of programs."""
    key = hashlib.sha256("\n".join((sys.version, *packages)).encode()).hexdigest()[:16]
    folder = CACHE / key
    if not (folder / "whole").exists():
        python = str(folder / "bin/python")
        _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--quiet", "--python", python, *packages)
        (folder / "whole").touch()
    return folder / "bin"


def versions_of(programs: Path) -> dict[str, str]:
    """Of every package in an environment, by its name in lower case."""
    listed = _uv("pip", "list", "--format", "json", "--python", str(programs / "python"))
    return {one["name"].lower(): one["version"] for one in json.loads(listed)}


def _uv(*arguments: str) -> str:
    ended = subprocess.run(
        [_UV, *arguments], check=False, capture_output=True, text=True, timeout=BUILD_S, cwd=ROOT
    )
    if ended.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)}: exit {ended.returncode}\n{ended.stderr}")
    return ended.stdout
