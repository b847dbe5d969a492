"""The routes of a service: from a Flask application's URL map, or from an OpenAPI document."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rushhour.errors import UsageError

IMPORT_TIMEOUT_S: Final = 60.0
METHODS: Final = ("get", "post", "put", "patch", "delete")
_TAIL_LINES: Final = 5

# Runs in the service's own interpreter, where rushhour need not be installed.
_ASK_FLASK: Final = """
import importlib, json, sys
sys.path.insert(0, ".")
module, _, name = sys.argv[1].partition(":")
app = importlib.import_module(module)
for part in (name or "app").rstrip("()").split("."):
    app = getattr(app, part)
if not hasattr(app, "url_map") and callable(app):
    app = app()
if not hasattr(app, "url_map"):
    sys.exit(f"{sys.argv[1]} is a {type(app).__name__}, which has no url_map: it is no Flask application")
json.dump([[rule.rule, sorted(rule.methods)] for rule in app.url_map.iter_rules()
           if rule.endpoint.rpartition(".")[2] != "static"], sys.__stdout__)
"""


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """One endpoint; `path` has its parameters in braces: /customers/{customer_id}."""

    path: str
    method: str  # "GET"


def of_flask(app: str, python: str, root: Path) -> list[Route]:
    """Routes of `module:application` or `module:factory()`. Raises UsageError with what the import said."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK_FLASK, app],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError([f"--python {python}: no such interpreter"]) from None
    except subprocess.TimeoutExpired:
        raise UsageError([f"--app {app}: its import has not ended after {IMPORT_TIMEOUT_S:g} s"]) from None
    if done.returncode != 0:
        tail = done.stderr.strip().splitlines()[-_TAIL_LINES:]
        raise UsageError([f"--app {app} cannot be imported by {python} in {root}:", *tail])
    rules: list[tuple[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return sorted(
        Route(re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", rule), method)
        for rule, methods in rules
        for method in methods
        if method.lower() in METHODS
    )


def of_openapi(path: Path) -> list[Route]:
    """Routes of an OpenAPI document, JSON or YAML. Raises UsageError when it is none."""
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else YAML(typ="safe").load(text)
    except FileNotFoundError:
        raise UsageError([f"--openapi {path}: no such file"]) from None
    except (OSError, ValueError, YAMLError) as error:
        raise UsageError([f"--openapi {path}: cannot be read: {error}"]) from None
    paths = document.get("paths") if isinstance(document, dict) else None
    if not isinstance(paths, dict) or not paths:
        raise UsageError([f"--openapi {path}: has no `paths`: it is no OpenAPI document"])
    return sorted(_operations(paths))


def _operations(paths: dict[str, Any]) -> Iterator[Route]:
    for path, operations in paths.items():
        for method in METHODS:
            if isinstance(operations, dict) and method in operations:
                yield Route(path, method.upper())


def health_of(routes: Sequence[Route]) -> str:
    """The path that looks like a health check, else the shortest that takes no parameter."""
    plain = [one.path for one in routes if one.method == "GET" and "{" not in one.path]
    for word in ("ready", "health", "ping", "alive", "status"):
        for path in plain:
            if word in path.lower():
                return path
    return min(plain, key=len, default="/")


def default_python(root: Path) -> str:
    """The interpreter of the folder's own virtual environment, where it has one."""
    own = root / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable
