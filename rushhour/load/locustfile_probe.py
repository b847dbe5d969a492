"""Imports a locustfile as Locust does, in a separate process, and prints its problems as JSON.

`python locustfile_probe.py LOCUSTFILE SECONDS` writes a list of `[file, line or null, problem]`. It ends by a
signal after that many seconds, so that an import without end ends also when whoever started it was killed.
"""

import dis
import inspect
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Problem = tuple[str, int | None, str]  # file, line, what is wrong


def problems_of(path: str) -> list[Problem]:
    """Return the problems of a locustfile; empty if Locust can run it."""
    from locust.util.load_locustfile import load_locustfile  # noqa: PLC0415  # it patches the whole process

    try:
        user_classes, _ = load_locustfile(path)
    except SyntaxError as error:
        text = f"syntax error: {error.msg}"
        return [(error.filename or path, error.lineno, text)]
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever its own code raises
        file, line = _blamed(error, path)
        return [(file, line, f"its import raised {type(error).__name__}: {error}")]
    if not user_classes:
        return [(path, None, "has no user class: define a subclass of HttpUser or FastHttpUser with tasks")]
    return sorted({problem for user in user_classes.values() for problem in _of_class(user)})


def _blamed(error: BaseException, path: str) -> tuple[str, int | None]:
    """Return the innermost frame of the user's code: the locustfile, or a file in its working folder."""
    frames = traceback.extract_tb(error.__traceback__)
    root, packages = Path.cwd().resolve(), {"site-packages", "dist-packages"}
    for frame in reversed(frames):
        file = Path(frame.filename).resolve()
        if frame.filename == path or (file.is_relative_to(root) and not packages & {*file.parts}):
            return frame.filename, frame.lineno
    return path, None


def _of_class(user: type[Any]) -> Iterator[Problem]:
    """Yield what is wrong with a user class and its task sets: lengths of sessions, names of tasks."""
    seen: set[type[Any]] = set()
    waiting: list[type[Any]] = [user]
    while waiting:
        owner = waiting.pop()
        if owner in seen:
            continue
        seen.add(owner)
        yield from _length(owner)
        own = [base for base in owner.__mro__ if not _is_locusts(base) and base is not object]
        yield from _without_tasks(owner, own)
        names = {name for base in owner.__mro__ if _is_locusts(base) for name in _names(base)}
        for base in own:
            for name, value in vars(base).items():
                if isinstance(value, type) and hasattr(value, "tasks"):
                    waiting.append(value)
                elif hasattr(value, "locust_task_weight") and name in names and hasattr(value, "__code__"):
                    code = value.__code__
                    text = (
                        f"task {name} of {base.__name__} replaces what Locust itself calls {name}: rename it"
                    )
                    yield code.co_filename, code.co_firstlineno, text
        tasks = getattr(owner, "tasks", None) or ()
        waiting += [task for task in tasks if isinstance(task, type) and not _is_locusts(task)]


def _length(owner: type[Any]) -> Iterator[Problem]:
    """Yield a `session_length` that is no number of tasks; docs/load.md says what it means."""
    length = getattr(owner, "session_length", None)
    if length is None or (isinstance(length, int) and not isinstance(length, bool) and length > 0):
        return
    text = (
        f"session_length {length!r} of {owner.__name__} is not a number of tasks: write a whole number "
        "above 0, or None for a class that raises StopUser itself"
    )
    yield sys.modules[owner.__module__].__file__ or owner.__module__, None, text


def _without_tasks(owner: type[Any], own: list[type[Any]]) -> Iterator[Problem]:
    """Yield a class that has no task, unless its own code or a listener may give it tasks as it starts."""
    if getattr(owner, "tasks", None):
        return
    from locust import events  # noqa: PLC0415  # after load_locustfile, which patches the whole process

    may_add = ("__init__", "on_start", "get_next_task")
    adds = any(name in vars(base) for base in own for name in may_add)
    listening = any(
        handler.__module__.partition(".")[0] != "locust"
        for hook in (events.init, events.test_start, events.spawning_complete)
        for handler in hook._handlers
    )
    in_states = any(_is_locusts(base) and base.__name__ == "MarkovTaskSet" for base in owner.__mro__)
    if adds or listening or in_states:
        return
    try:
        line = inspect.getsourcelines(owner)[1]
    except (OSError, TypeError):
        line = None
    file = getattr(sys.modules.get(owner.__module__), "__file__", None) or owner.__module__
    yield file, line, f"{owner.__name__} has no task: mark a method with @task, or set `tasks`"


def _is_locusts(owner: type[Any]) -> bool:
    return owner.__module__.partition(".")[0] == "locust"


def _names(base: type[Any]) -> set[str]:
    """Return the names of a Locust class: methods, attributes, and what its `__init__` sets."""
    set_later = (
        {
            instruction.argval
            for instruction in dis.get_instructions(base.__init__)
            if instruction.opname == "STORE_ATTR"
        }
        if "__init__" in vars(base)
        else set()
    )
    return {*vars(base), *vars(base).get("__annotations__", {}), *set_later}


if __name__ == "__main__":
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
    output = os.dup(1)
    os.dup2(2, 1)  # keep the locustfile's output out of the answer
    sys.path[0] = str(Path.cwd())  # in place of this file's folder, whose modules must not be importable
    found = problems_of(sys.argv[1])
    os.write(output, json.dumps(found).encode() + b"\n")
    os._exit(0)  # do not wait for threads of the locustfile
