"""The images of a release and of Locust's workers, built from this source tree."""

import ast
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from docker.errors import APIError

from rushhour.errors import StackError
from rushhour.process.tools import ask_program
from rushhour.stack.compose.command import ComposeCommand
from rushhour.stack.compose.images import Image, ImageStore
from rushhour.stack.paths import configuration_dir

SERVICE_IMAGE: Final = "rushhour/referrals"  # :<release>
LOCUST_IMAGE: Final = "rushhour/locust:workers"

BUILD_TIMEOUT_S: Final = 900.0
_PIP_TIMEOUT_S: Final = 120.0
_PIP_KEYS: Final = ("index-url", "extra-index-url", "trusted-host", "proxy")


def write_build_secrets(private: Path) -> None:
    """Write `pip.conf` and `ca.pem`, as this machine's pip is set up; both empty where nothing is set.

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
    """Return what pip's configuration says on this machine; addresses of local files are left out."""
    listed = ask_program([sys.executable, "-m", "pip", "config", "list"], timeout_s=_PIP_TIMEOUT_S)
    return parse_pip_settings(listed.stdout)


def parse_pip_settings(listed: str) -> dict[str, str]:
    """Parse lines as `global.index-url='https://…'`; what comes later in pip's own order wins."""
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


def source_digest(root: Path, sources: Iterable[Path], what: str) -> str:
    """Return a text that changes whenever a file or `what` does."""
    digest = hashlib.sha256(what.encode())
    for path in sources:
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def release_digest(root: Path, release: str, python_image: Image) -> str:
    """Return a text that changes whenever the image that `build_release` would make changes."""
    files = [root / "requirements.lock", *sorted((root / "app").rglob("*"))]
    return source_digest(root, files, f"{release} {python_image.id}")


def build_release(images: ImageStore, release: str, base: Image) -> Image:
    """Build a release's image from this source tree, unless that which is here was built from the same.

    Raises StackError with what the build wrote last.
    """
    root = configuration_dir().parents[1]
    name = f"{SERVICE_IMAGE}:{release}"
    if not (root / "app" / "Dockerfile").is_file():
        raise StackError(f"{name} cannot be built: {root} holds no app/Dockerfile; name an image: --image")
    arguments = {"PYTHON_IMAGE": base.name, "SERVICE_IMAGE": name, "RELEASE": release}
    return _build(images, "service", name, release_digest(root, release, base), arguments)


def build_locust(images: ImageStore, base: Image) -> Image:
    """Build the image of Locust's workers, on the same terms."""
    root = configuration_dir().parents[1]
    sources = [root / "requirements.lock", root / "infra" / "locust" / "Dockerfile"]
    arguments = {"PYTHON_IMAGE": base.name, "LOCUST_IMAGE": LOCUST_IMAGE}
    return _build(images, "locust-worker", LOCUST_IMAGE, source_digest(root, sources, base.id), arguments)


def _build(images: ImageStore, part: str, name: str, source: str, arguments: Mapping[str, str]) -> Image:
    kept = images.find(name)
    if kept is not None and kept.source == source:
        return kept
    images.progress(f"build {name}")
    with tempfile.TemporaryDirectory(prefix="rushhour-build-") as private:
        write_build_secrets(Path(private))
        variables = {
            "PROJECT": "rushhour-build",
            "PRIVATE": private,
            "AGENT_OUT": private,  # Compose wants a value of every variable, whatever it is asked to do
            "LOGS": private,
            "SOURCE": source,
            **arguments,
        }
        command = ComposeCommand(
            images.guard,
            images.engine,
            "rushhour-build",
            (configuration_dir().parent / "compose.yaml",),
            {f"RUSHHOUR_{key}": value for key, value in variables.items()},
        )
        try:
            command.run("build", part, timeout_s=BUILD_TIMEOUT_S)
        except StackError as error:
            raise StackError(f"the image {name} cannot be built; docker wrote:", error.log_tail) from error
    built = images.need(name)
    if kept is not None and kept.source is not None and kept.id != built.id:
        with suppress(APIError):  # a run may still use it
            images.client.images.remove(kept.id)  # our own, and nameless now
    return built
