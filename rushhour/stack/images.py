"""Images: here, pulled, or built from this source tree."""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from docker import DockerClient
from docker.errors import DockerException, ImageNotFound

from rushhour.child import run_tool
from rushhour.errors import StackError
from rushhour.guard import Guard
from rushhour.stack import Progress
from rushhour.stack.compose_command import ComposeCommand
from rushhour.stack.engine import Engine
from rushhour.stack.paths import configuration_dir

POSTGRES_IMAGE: Final = "postgres:18"
PYTHON_IMAGE: Final = "python:3.13-slim"
SERVICE_IMAGE: Final = "rushhour/referrals"  # :<release>
STAND_IN: Final = "rushhour.stand-in"  # the label of what infra/images/offline.sh builds

PULL_TIMEOUT_S: Final = 900.0
BUILD_TIMEOUT_S: Final = 900.0
_PIP_TIMEOUT_S: Final = 30.0
_PIP_KEYS: Final = ("index-url", "extra-index-url", "trusted-host", "proxy")


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the engine; `stand_in` tells what one was made from that is not the official one."""

    name: str
    id: str
    workdir: str
    environment: Mapping[str, str]
    stand_in: str | None

    def __str__(self) -> str:
        return self.name if self.stand_in is None else f"{self.name} (stand-in: {self.stand_in})"


def find_image(client: DockerClient, name: str) -> Image | None:
    """The image if it is here."""
    try:
        found = client.images.get(name)
    except ImageNotFound:
        return None
    config = found.attrs["Config"]
    variables = [entry.partition("=") for entry in config.get("Env") or ()]
    return Image(
        name=name,
        id=str(found.id),
        workdir=config.get("WorkingDir") or "/",
        environment={key: value for key, _, value in variables},
        stand_in=(config.get("Labels") or {}).get(STAND_IN),
    )


def need_image(guard: Guard, engine: Engine, client: DockerClient, name: str, progress: Progress) -> Image:
    """The image, pulled when it is not here. Raises StackError that says how else to get it."""
    try:
        if (image := find_image(client, name)) is not None:
            return image
        progress(f"pull {name}")
        _pull(guard, engine, name)
        if (image := find_image(client, name)) is not None:
            return image
    except DockerException as error:
        raise StackError(f"the image {name} cannot be looked up: {error}") from error
    raise StackError(f"the image {name} was pulled, but the engine does not know it")


def _pull(guard: Guard, engine: Engine, name: str) -> None:
    try:
        run_tool(
            guard,
            ["docker", "pull", "--quiet", name],
            environment=engine.environment,
            account=None,
            timeout_s=PULL_TIMEOUT_S,
        )
    except StackError as error:
        advice = (
            "; where no registry can be reached, `make images-offline` builds a stand-in"
            if name in (POSTGRES_IMAGE, PYTHON_IMAGE)
            else "; build it, or check its name"
        )
        raise StackError(
            f"the image {name} is not on this machine and cannot be pulled{advice}; docker wrote:",
            error.log_tail,
        ) from error


def write_build_secrets(private: Path) -> None:
    """`pip.conf` and `ca.pem`, as this machine's pip is set up; both empty where it has nothing of its own.

    They reach the build as secrets: an index may carry a password, and neither belongs into an image.
    """
    settings = pip_settings()
    lines = [f"{key} = {settings[key]}" for key in _PIP_KEYS if key in settings]
    (private / "pip.conf").write_text("\n".join(["[global]", *lines, ""]) if lines else "", encoding="utf-8")
    bundle = settings.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle and Path(bundle).is_file():
        shutil.copyfile(bundle, private / "ca.pem")
    else:
        (private / "ca.pem").touch()


def pip_settings() -> dict[str, str]:
    """What pip's configuration says on this machine; addresses of local files are left out."""
    try:
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            capture_output=True,
            text=True,
            timeout=_PIP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"pip's configuration cannot be read: {error}") from error
    return parse_pip_settings(listed.stdout)


def parse_pip_settings(listed: str) -> dict[str, str]:
    """`global.index-url='https://…'`, one a line; what comes later in pip's own order wins."""
    found: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, quoted = line.partition("=")
        key = name.rpartition(".")[2]
        try:
            words = str(ast.literal_eval(quoted)).split()
        except (ValueError, SyntaxError):
            continue
        if remote := [word for word in words if not word.startswith("file:")]:
            found[key] = " ".join(remote)
    return found


def build_release(guard: Guard, engine: Engine, release: str, python_image: str) -> str:
    """Build a release's image from this source tree, and return its name; at once when nothing changed.

    Raises StackError with what the build wrote last.
    """
    name = f"{SERVICE_IMAGE}:{release}"
    infra = configuration_dir().parent
    if not (infra.parent / "app" / "Dockerfile").is_file():
        raise StackError(
            f"{name} cannot be built: {infra.parent} holds no app/Dockerfile; name an image: --image"
        )
    with tempfile.TemporaryDirectory(prefix="rushhour-build-") as private:
        write_build_secrets(Path(private))
        variables = {
            "PROJECT": "rushhour-build",
            "PRIVATE": private,
            "AGENT_OUT": private,  # Compose wants a value of every variable, whatever it is asked to do
            "LOGS": private,
            "PYTHON_IMAGE": python_image,
            "SERVICE_IMAGE": name,
            "RELEASE": release,
        }
        command = ComposeCommand(
            guard,
            engine,
            "rushhour-build",
            (infra / "compose.yaml",),
            {f"RUSHHOUR_{key}": value for key, value in variables.items()},
        )
        try:
            command.run("build", "service", timeout_s=BUILD_TIMEOUT_S)
        except StackError as error:
            raise StackError(
                f"the image {name} cannot be built from app/Dockerfile; docker wrote:", error.log_tail
            ) from error
    return name
