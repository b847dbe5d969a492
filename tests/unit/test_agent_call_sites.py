"""From frames to the application's call site; frames come from code compiled under made-up file names."""

import asyncio
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy.util import greenlet_spawn

from rushhour.agent.call_sites import APPLICATION, Classifier, Stack, is_of
from rushhour.agent.call_sites import LIBRARY as LIBRARY_FILE
from rushhour.agent.stacks import MAX_DEPTHS, MAX_FRAMES, StackFinder

APP = "/srv/service/app"
LIBRARY = "/srv/.venv/lib/python3.11/site-packages"
FLASK = f"{LIBRARY}/flask/app.py"


def function(file: str, name: str, body: str = "return callee()", **names: Any) -> Callable[[], Any]:
    """`def <name>(): <body>` in `file`, on its first line."""
    space = dict(names)
    exec(compile(f"def {name}(): {body}", file, "exec"), space)  # noqa: S102  # code with a file name of its own
    made: Callable[[], Any] = space[name]
    return made


class Finder:
    """A finder that knows Flask's dispatcher and SQLAlchemy; the tests' own frames are plumbing to it."""

    def __init__(self) -> None:
        classifier = Classifier()
        classifier.add_plumbing(f"{LIBRARY}/sqlalchemy")
        classifier.add_plumbing(__file__.rpartition("/tests/")[0])
        classifier.add_framework(FLASK)
        self.find = StackFinder(classifier).hot_path()

    def names(self, *frames: tuple[str, str]) -> list[str]:
        """Functions of the stack found while the innermost frame runs."""
        innermost = function(*frames[-1], "return find(1)", find=self.find)
        callee = innermost
        for file, name in reversed(frames[:-1]):
            callee = function(file, name, callee=callee)
        return [site.function for site in callee().sites]


@pytest.fixture
def finder() -> Finder:
    return Finder()


def test_the_application_is_named_and_not_its_libraries(finder: Finder) -> None:
    assert finder.names(
        (f"{APP}/views.py", "view"),
        (f"{APP}/db.py", "rows"),
        (f"{LIBRARY}/sqlalchemy/orm/session.py", "execute"),
        (f"{LIBRARY}/sqlalchemy/engine/base.py", "connect"),
    ) == ["rows", "view"]


def test_libraries_between_application_frames_are_left_out(finder: Finder) -> None:
    assert finder.names(
        (f"{APP}/views.py", "view"),
        (f"{LIBRARY}/decorators/__init__.py", "wrapper"),
        (f"{APP}/db.py", "rows"),
        (sys.modules["contextlib"].__file__ or "", "__enter__"),
    ) == ["rows", "view"]


def test_nothing_beyond_the_web_framework(finder: Finder) -> None:
    assert finder.names(
        (f"{APP}/wsgi.py", "main"),
        (FLASK, "dispatch_request"),
        (f"{APP}/views.py", "view"),
    ) == ["view"]


def test_a_service_that_is_an_installed_package_is_named_by_its_innermost_frame(finder: Finder) -> None:
    assert finder.names(
        (f"{LIBRARY}/service/views.py", "view"),
        (f"{LIBRARY}/service/db.py", "rows"),
        (f"{LIBRARY}/sqlalchemy/orm/session.py", "execute"),
    ) == ["rows"]


def test_no_python_caller_at_all(finder: Finder) -> None:
    assert finder.names(("<string>", "generated")) == ["?"]
    assert finder.names((f"{APP}/templates/list.html", "root")) == ["?"]


def test_only_the_innermost_frames_are_kept(finder: Finder) -> None:
    frames = [(f"{APP}/deep.py", f"level_{number}") for number in range(MAX_FRAMES + 3)]
    assert finder.names(*frames) == [name for _, name in frames[::-1][:MAX_FRAMES]]


def test_one_stack_per_path_and_place(finder: Finder) -> None:
    def through(view: str) -> Callable[[], Stack]:
        rows = function(f"{APP}/db.py", "rows", "return find(1)", find=finder.find)
        return function(f"{APP}/views.py", view, callee=rows)

    listing = through("listing")
    assert listing() is listing()
    assert [site.function for site in through("detail")().sites] == ["rows", "detail"]


def test_two_lines_of_one_function_are_two_places(finder: Finder) -> None:
    source = "def rows():\n    first = find(1)\n    return first, find(1)\n"
    space: dict[str, Any] = {"find": finder.find}
    exec(compile(source, f"{APP}/db.py", "exec"), space)  # noqa: S102  # as above
    first, second = space["rows"]()
    assert [(stack.sites[0].file, stack.sites[0].line) for stack in (first, second)] == [
        (f"{APP}/db.py", 2),
        (f"{APP}/db.py", 3),
    ]


def test_names_leave_out_where_a_function_was_made(finder: Finder) -> None:
    source = "def make():\n class Listing:\n  def get(self): return find(1)\n return Listing().get()\n"
    space: dict[str, Any] = {"find": finder.find}
    exec(compile(source, f"{APP}/factory.py", "exec"), space)  # noqa: S102  # as above
    assert [site.function for site in space["make"]().sites] == ["Listing.get", "make"]


def test_a_learnt_depth_is_not_mistaken_for_another_way(finder: Finder) -> None:
    """The application's own hook, at a depth of its own, is named although its caller's place was learnt."""
    orm, hooks = f"{LIBRARY}/sqlalchemy/orm.py", f"{APP}/hooks.py"
    seen: list[Stack] = []
    plain = function(orm, "execute", "seen.append(find(1))", seen=seen, find=finder.find)
    hook = function(hooks, "hook", "seen.append(find(1))", seen=seen, find=finder.find)
    hooked = function(orm, "execute", "callee()", callee=function(orm, "dispatch", "callee()", callee=hook))
    ways = [plain, hooked, plain, hooked]
    view = function(f"{APP}/views.py", "view", "[way() for way in ways]", ways=ways)
    view()
    assert [stack.sites[0].file for stack in seen] == [f"{APP}/views.py", hooks] * 2


def test_a_shallow_stack_after_a_deep_one(finder: Finder) -> None:
    orm = f"{LIBRARY}/sqlalchemy/orm.py"
    deep = [(f"{APP}/views.py", "view"), *((orm, f"level_{number}") for number in range(30))]
    assert finder.names(*deep) == ["view"]
    assert finder.names((f"{APP}/jobs.py", "job")) == ["job"]
    assert finder.names(*deep) == ["view"]


def test_an_application_frame_replaces_a_library_call_site(finder: Finder) -> None:
    library = function(f"{LIBRARY}/jobs/queue.py", "take", "return find(1)", find=finder.find)
    assert library().sites[0].function == "take"
    assert function(f"{APP}/jobs.py", "job", callee=library)().sites[0].function == "job"
    assert library().sites[0].function == "take"


class Coroutine:
    """A view of an asyncio service, which awaits what runs in one of SQLAlchemy's greenlets."""

    def __init__(self, inner: Callable[[], Any]) -> None:
        space: dict[str, Any] = {"spawn": greenlet_spawn, "inner": inner}
        source = "async def view(): return await spawn(inner)"
        exec(compile(source, f"{APP}/views.py", "exec"), space)  # noqa: S102  # as above
        self.main = function(f"{APP}/main.py", "main", "return run(view())", run=asyncio.run, **space)

    def stack(self) -> Stack:
        found = self.main()
        assert isinstance(found, Stack)
        return found


@pytest.mark.parametrize("file", [f"{LIBRARY}/sqlalchemy/orm.py", f"{LIBRARY}/sqlmodel/session.py"])
def test_who_awaits_a_greenlet_is_named_and_not_who_started_the_loop(finder: Finder, file: str) -> None:
    way = Coroutine(function(file, "execute", "return find(1)", find=finder.find))
    other = Coroutine(function(file, "commit", "return find(1)", find=finder.find))
    stacks = [one.stack() for one in (way, other, way, other)]
    assert [[site.function for site in stack.sites] for stack in stacks] == [["view"]] * 4
    assert stacks[0] is stacks[2]
    assert stacks[1] is stacks[3]


def test_the_application_within_a_greenlet_is_named_itself(finder: Finder) -> None:
    plain = function(f"{LIBRARY}/sqlalchemy/orm.py", "execute", "return find(1)", find=finder.find)
    rows = function(f"{APP}/db.py", "rows", callee=plain)
    run_sync = function(f"{LIBRARY}/sqlalchemy/orm.py", "run_sync", callee=rows)
    ways = [Coroutine(one) for one in (plain, rows, run_sync)]
    for _ in range(2):
        assert [way.stack().sites[0].function for way in ways] == ["view", "rows", "rows"]


def test_one_place_may_await_sqlalchemy_and_the_application_in_turn(finder: Finder) -> None:
    """Whatever it has awaited before, and however deep that was."""
    sqlalchemy = f"{LIBRARY}/sqlalchemy/orm.py"
    plain = [function(sqlalchemy, "execute", "return find(1)", find=finder.find)]
    for number in range(2 * MAX_DEPTHS):
        plain.append(function(sqlalchemy, f"deeper_{number}", callee=plain[-1]))
    own = [function(f"{APP}/db.py", "rows", callee=one) for one in plain]
    space: dict[str, Any] = {"spawn": greenlet_spawn}
    source = "async def view(inner): return await spawn(inner)"
    exec(compile(source, f"{APP}/views.py", "exec"), space)  # noqa: S102  # as above
    for _ in range(2):
        for library, application in zip(plain, own, strict=True):
            found = [asyncio.run(space["view"](inner)) for inner in (library, application)]
            assert [stack.sites[0].function for stack in found] == ["view", "rows"]


def test_an_installed_package_that_awaits_a_greenlet(finder: Finder) -> None:
    space: dict[str, Any] = {
        "spawn": greenlet_spawn,
        "inner": function(f"{LIBRARY}/sqlalchemy/orm.py", "execute", "return find(1)", find=finder.find),
    }
    source = "async def view(): return await spawn(inner)"
    exec(compile(source, f"{LIBRARY}/service/views.py", "exec"), space)  # noqa: S102  # as above
    for _ in range(2):
        assert [site.function for site in asyncio.run(space["view"]()).sites] == ["view"]


def test_a_relative_file_is_the_applications_only_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled modules, as Cython's, name their source by the path that it had where they were built."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "db.py").write_text("")
    monkeypatch.chdir(tmp_path)
    classifier = Classifier()
    assert classifier.kind("shop/db.py") == APPLICATION
    assert classifier.kind("aiohttp/_websocket/reader_py.py") == LIBRARY_FILE
    monkeypatch.chdir("/")
    assert classifier.kind("shop/db.py") == APPLICATION


@pytest.mark.parametrize(
    ("file", "is_it"),
    [
        (inspect.getfile(greenlet_spawn), True),
        (f"{LIBRARY}/sqlalchemy/pool/base.py", True),
        ("/usr/lib/python3/dist-packages/sqlalchemy/pool/base.py", True),
        (f"{LIBRARY}/opentelemetry/instrumentation/sqlalchemy/engine.py", False),
        ("/srv/shop/adapters/sqlalchemy/repository.py", False),
    ],
)
def test_a_folder_that_is_called_as_a_library_is_not_the_library(file: str, is_it: bool) -> None:
    assert is_of("sqlalchemy", file) is is_it


def test_a_library_may_lie_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("own_library")
    module.__file__ = "/opt/vendored/own_library/__init__.py"
    monkeypatch.setitem(sys.modules, "own_library", module)
    assert is_of("own_library", "/opt/vendored/own_library/pool/base.py")
    assert not is_of("own_library", "/srv/shop/own_library/pool.py")
