"""An action once a module was imported, and nothing else changed by it."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from rushhour.agent.after_import import AfterImport

NAME = "rushhour_test_library"


class Watch:
    """What was acted on, and what went wrong."""

    def __init__(self) -> None:
        self.acted: list[ModuleType] = []
        self.faults: list[str] = []
        self.finder = AfterImport(
            {NAME: self.act}, lambda where, error: self.faults.append(f"{where}: {error}")
        )

    def act(self, module: ModuleType) -> None:
        self.acted.append(module)
        if hasattr(module, "TROUBLE"):
            raise ValueError("no such method")


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    (tmp_path / f"{NAME}.py").write_text("VALUE = 1")
    monkeypatch.syspath_prepend(tmp_path)
    watch = Watch()
    yield watch
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not watch.finder]
    sys.modules.pop(NAME, None)


def test_it_acts_after_the_modules_code_ran(watch: Watch) -> None:
    watch.finder.install()
    assert watch.acted == []
    module = importlib.import_module(NAME)
    assert watch.acted == [module]
    assert module.VALUE == 1


def test_it_acts_once_and_leaves_the_loader_as_it_was(watch: Watch) -> None:
    watch.finder.install()
    module = importlib.import_module(NAME)
    importlib.reload(module)
    assert watch.acted == [module]
    assert module.__spec__ is not None
    assert "exec_module" not in vars(module.__spec__.loader)


def test_it_acts_at_once_on_what_is_there_already(watch: Watch) -> None:
    module = importlib.import_module(NAME)
    watch.finder.install()
    assert watch.acted == [module]


def test_looking_for_a_module_is_not_importing_it(watch: Watch) -> None:
    watch.finder.install()
    assert importlib.util.find_spec(NAME) is not None
    assert watch.acted == []
    importlib.import_module(NAME)
    assert len(watch.acted) == 1


def test_an_import_that_fails_is_tried_again(watch: Watch, tmp_path: Path) -> None:
    watch.finder.install()
    (tmp_path / f"{NAME}.py").write_text("raise RuntimeError('not yet')")
    importlib.invalidate_caches()
    with pytest.raises(RuntimeError, match="not yet"):
        importlib.import_module(NAME)
    assert watch.acted == []
    (tmp_path / f"{NAME}.py").write_text("VALUE = 22")
    importlib.invalidate_caches()
    importlib.import_module(NAME)
    assert len(watch.acted) == 1


def test_an_action_that_fails_does_not_fail_the_import(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.py").write_text("TROUBLE = True")
    watch.finder.install()
    assert importlib.import_module(NAME).TROUBLE is True
    assert watch.faults == [f"patching {NAME}: no such method"]


def test_a_module_that_is_missing_stays_missing(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.py").unlink()
    importlib.invalidate_caches()
    watch.finder.install()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(NAME)
