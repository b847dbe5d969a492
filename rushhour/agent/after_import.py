"""Runs an action after a module has been imported, without importing it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importlib.abc would double the agent's start-up time
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Action = Callable[[ModuleType], None]
    Fault = Callable[[str, BaseException], None]


class AfterImport:
    """A meta path finder that finds nothing itself, but runs actions after modules were imported."""

    def __init__(self, actions: dict[str, Action], fault: Fault) -> None:
        self._actions = actions
        self._fault = fault

    def install(self) -> None:
        """Watch future imports; run the actions of modules that are already imported."""
        for name in [name for name in self._actions if name in sys.modules]:
            self._act(name, sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._actions:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(fullname, path, target) if find else None
            if spec is not None:
                try:
                    self._act_after(fullname, spec.loader)
                except Exception as error:
                    self._fault(f"watching the import of {fullname}", error)
                return spec
        return None

    def _act_after(self, fullname: str, loader: object) -> None:
        """Shadow `exec_module` on this one loader: its type, which other code may test, stays what it is."""
        exec_module = loader.exec_module  # type: ignore[attr-defined]  # the import system's loaders have it

        def exec_and_act(module: ModuleType) -> None:
            exec_module(module)
            vars(loader).pop("exec_module", None)
            self._act(fullname, module)

        loader.exec_module = exec_and_act  # type: ignore[attr-defined]  # as above

    def _act(self, fullname: str, module: ModuleType) -> None:
        action = self._actions.pop(fullname, None)
        if action is None:
            return
        try:
            action(module)
        except Exception as error:
            self._fault(f"patching {fullname}", error)
