"""Starts the agent when RUSHHOUR_AGENT_DIR is set, then runs the sitecustomize that this one hides.

Nothing of the agent may reach the service: its errors end here, in one line on stderr.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH100, PTH118, PTH120

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_NAME = "_rushhour_agent"  # not `rushhour.agent`: the service's venv may hold no rushhour, or another one


def _start_agent() -> None:
    out = os.environ.get("RUSHHOUR_AGENT_DIR")
    if not out or _NAME in sys.modules:
        return
    if sys.version_info < (3, 11):  # noqa: UP036  # nothing else of the agent need be readable to an old one
        raise ImportError(f"it needs CPython 3.11 or newer, this is {sys.version.split()[0]}")
    package = os.path.dirname(_HERE)
    spec = importlib.util.spec_from_file_location(
        _NAME,
        os.path.join(package, "__init__.py"),
        submodule_search_locations=[package],
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no agent in {package}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)
    importlib.import_module(_NAME + ".start").install(out)


def _run_hidden_sitecustomize() -> None:
    """Let errors through: without the agent they would reach `site` in the same way."""
    elsewhere = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


try:
    _start_agent()
except Exception as error:
    try:  # noqa: SIM105 (contextlib would be one more import in every process)
        os.write(2, f"rushhour agent: not started: {type(error).__name__}: {error}\n".encode())
    except OSError:
        pass  # no stderr
_run_hidden_sitecustomize()
