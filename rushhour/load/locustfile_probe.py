"""Imports a locustfile as Locust does, in a separate process, and prints its problems as JSON.

`python locustfile_probe.py LOCUSTFILE SECONDS` writes a list of `[file, line or null, problem]`. An import
that takes longer is a problem of the line where it stands then; one that cannot be interrupted ends the
process 5 s later, also when whoever started it was killed.
"""

import dis
import faulthandler
import inspect
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SPARE_S = 5.0
_OFFERED = {"__init__", "on_start", "on_stop", "wait_time", "context"}  # to be replaced by the user's own
Problem = tuple[str, int | None, str]  # file, line, what is wrong


class _TooLong(BaseException):  # not an Exception, which an endless loop may catch
    """The import took longer than it may."""


def problems_of(path: str, seconds: float) -> list[Problem]:
    """Return the problems of a locustfile; empty if Locust can run it."""
    from locust.util.load_locustfile import load_locustfile  # noqa: PLC0415  # it patches the whole process

    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        user_classes, _ = load_locustfile(path)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except SyntaxError as error:
        text = f"syntax error: {error.msg}"
        return [(error.filename or path, error.lineno, text)]
    except _TooLong as error:
        return [(*_blamed(error, path), f"its import stands here after {seconds:g} s, and has not ended")]
    except BaseException as error:  # noqa: BLE001  # whatever its own code raises, KeyboardInterrupt too
        file, line = _blamed(error, path)
        return [(file, line, f"its import raised {type(error).__name__}: {error}".removesuffix(": "))]
    if not user_classes:
        return [(path, None, "has no user class: define a subclass of HttpUser or FastHttpUser with tasks")]
    problems = {problem for user in user_classes.values() for problem in _of_class(user)}
    problems |= {*_weights(list(user_classes.values()))}
    return sorted(problems, key=lambda problem: (problem[0], problem[1] or 0, problem[2]))


def _interrupt(*_: Any) -> None:
    raise _TooLong


def _blamed(error: BaseException, path: str) -> tuple[str, int | None]:
    """Return the innermost frame of the user's code: the locustfile, or a file in its working folder."""
    frames = traceback.extract_tb(error.__traceback__)
    root, packages = Path.cwd().resolve(), {"site-packages", "dist-packages"}
    here = Path(__file__).resolve()
    for frame in reversed(frames):
        file = Path(frame.filename).resolve()
        if file == here or not file.is_file():  # Cython's modules name files that are not there
            continue
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
        yield from _replaced(owner, own)
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
    may_add = ("__init__", "on_start", "get_next_task")
    adds = any(name in vars(base) for base in own for name in may_add)
    in_states = any(_is_locusts(base) and base.__name__ == "MarkovTaskSet" for base in owner.__mro__)
    if adds or _listens() or in_states:
        return
    yield *_place(owner), f"{owner.__name__} has no task: mark a method with @task, or set `tasks`"


def _weights(users: list[type[Any]]) -> Iterator[Problem]:
    """Yield weights that are no numbers; and the classes, if no weight is above 0, so that nobody starts."""
    for user in users:
        weight = user.weight
        if not isinstance(weight, int | float):
            yield *_place(user), f"weight {weight!r} of {user.__name__} is not a number"
            return
    if any(user.weight > 0 or user.fixed_count for user in users) or _listens():
        return
    names = ", ".join(user.__name__ for user in users)
    text = f"nobody would start: no user class ({names}) has a weight above 0 or a fixed_count"
    yield *_place(users[0]), text


def _replaced(owner: type[Any], own: list[type[Any]]) -> Iterator[Problem]:
    """Yield plain methods that take the place of one that Locust calls, with arguments that they do not take.

    A method that takes the same arguments, or calls the one that it replaces, is meant to replace it.
    """
    locusts = [base for base in owner.__mro__ if _is_locusts(base) and base.__name__ in {"User", "TaskSet"}]
    for base in own:
        for name, value in vars(base).items():
            original = next((vars(known)[name] for known in locusts if name in vars(known)), None)
            if name in _OFFERED or not inspect.isfunction(value) or not inspect.isfunction(original):
                continue
            if hasattr(value, "locust_task_weight") or "super" in value.__code__.co_names:
                continue
            wanted = [
                given
                for given in inspect.signature(original).parameters.values()
                if given.kind is given.POSITIONAL_OR_KEYWORD
            ]
            try:
                inspect.signature(value).bind(*wanted)
            except TypeError:
                code = value.__code__
                taken = ", ".join(given.name for given in wanted[1:])
                text = f"{name} of {base.__name__} replaces Locust's own {name}({taken}): rename it"
                yield code.co_filename, code.co_firstlineno, text


def _listens() -> bool:
    """Whether a listener of the user's may change the classes before anybody starts."""
    from locust import events  # noqa: PLC0415  # after load_locustfile, which patches the whole process

    return any(
        handler.__module__.partition(".")[0] != "locust"
        for hook in (events.init, events.test_start, events.spawning_complete)
        for handler in hook._handlers
    )


def _place(owner: type[Any]) -> tuple[str, int | None]:
    try:
        line = inspect.getsourcelines(owner)[1]
    except (OSError, TypeError):
        line = None
    return getattr(sys.modules.get(owner.__module__), "__file__", None) or owner.__module__, line


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
    allowed_s = float(sys.argv[2])
    faulthandler.dump_traceback_later(allowed_s + _SPARE_S, exit=True)
    output = os.dup(1)
    os.dup2(2, 1)  # keep the locustfile's output out of the answer
    sys.path[0] = str(Path.cwd())  # in place of this file's folder, whose modules must not be importable
    found = problems_of(sys.argv[1], allowed_s)
    os.write(output, json.dumps(found).encode() + b"\n")
    os._exit(0)  # do not wait for threads of the locustfile
