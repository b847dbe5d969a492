"""`pytest --pool-leaks`: a test in which a connection stays out of its SQLAlchemy pool fails, with the line.

The pool agent runs in pytest's own process, without its files and its thread. Nothing is imported unless the
option is given.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from rushhour.agent.book import Book, Hold

MARKER = "allow_pool_leaks"
THREADS_SETTLE_S = 0.5  # what other threads hold may be on its way back when the test ends
POLL_S = 0.01


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rushhour", "connections of SQLAlchemy's pools")
    group.addoption(
        "--pool-leaks",
        action="store_true",
        help="fail a test in which a connection stays checked out, and name the line that took it",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARKER}: with --pool-leaks, this test may leave connections out")
    if config.getoption("--pool-leaks"):
        from rushhour.agent.start import watch_in_process  # noqa: PLC0415  # not where nobody asks for it

        config.pluginmanager.register(PoolLeaks(watch_in_process(), config.rootpath), "rushhour-pool-leaks")


class PoolLeaks:
    """Knows which check-outs are a test's, and which belong to a fixture that outlives the test."""

    def __init__(self, book: Book, root: Path) -> None:
        self._book = book
        self._root = root
        self._before: set[Hold] = set()
        self._of_fixture: dict[Hold, str] = {}  # taken in the set-up of a fixture wider than a test
        self._late: list[str] = []  # left behind by a fixture that has been torn down
        self._told: set[Hold] = set()
        self._leaked_tests = 0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, None, None]:
        self._book.ended.clear()
        self._before = set(self._book.live)
        yield

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        before = set(self._book.live)
        result = yield
        if fixturedef.scope != "function":
            for hold in set(self._book.live) - before:  # an inner fixture has had its own by now
                self._of_fixture.setdefault(hold, _identity(fixturedef))
        return result

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        name = _identity(fixturedef)
        mine = {hold for hold, owner in self._of_fixture.items() if owner == name}
        left = mine & set(self._book.live) - self._told
        if left:
            where = f"fixture {fixturedef.argname} ({fixturedef.scope}) has been torn down, and"
            self._late.append(self._words(where, left, set()))
            self._told |= left
        for hold in mine:
            del self._of_fixture[hold]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        yield
        left, collected = self._left_out()
        self._told |= left
        late, self._late = self._late, []
        if item.get_closest_marker(MARKER) is not None:
            return
        said = [self._words("after this test", left, collected)] if left or collected else []
        if said or late:
            self._leaked_tests += 1
            pytest.fail("\n".join([*said, *late]), pytrace=False)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        versions = ", ".join(f"{name} {version}" for name, version in self._book.modules.items())
        seen = f"{len(self._book.pools)} pools alive, {versions or 'SQLAlchemy was never imported'}"
        terminalreporter.write_line(f"pool leaks: {self._leaked_tests} tests left connections out ({seen})")
        for (where, error), times in self._book.faults.items():
            terminalreporter.write_line(f"pool leaks: the agent failed in {where}: {error} ({times} times)")

    def _left_out(self) -> tuple[set[Hold], set[Hold]]:
        """This test's check-outs that are out, and those that only garbage collection brought back."""
        deadline = time.monotonic() + THREADS_SETTLE_S
        while any(hold.thread != _main_thread() for hold in self._new()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if self._new():
            gc.collect()  # an abandoned session is in a cycle, and would come back some day
        collected = {
            hold for hold in self._book.ended if hold.how == "gc" and hold not in self._before | self._told
        }
        return self._new(), collected

    def _new(self) -> set[Hold]:
        return set(self._book.live.copy()) - self._before - self._of_fixture.keys() - self._told

    def _words(self, when: str, left: set[Hold], collected: set[Hold]) -> str:
        lines = []
        for holds, what in ((left, "still out"), (collected, "came back by garbage collection alone")):
            if holds:
                lines.append(f"{when} {len(holds)} pool connection{'s' * (len(holds) != 1)} {what}:")
                lines += sorted(self._line(hold) for hold in holds)
        return "\n".join(lines)

    def _line(self, hold: Hold) -> str:
        sites = [f"{self._relative(site.file)}:{site.line} {site.function}" for site in hold.stack.sites]
        label = f" for {hold.request.label}" if hold.request is not None and hold.request.label else ""
        return f"  taken at {sites[0]}{label}" + "".join(f"\n      called from {site}" for site in sites[1:])

    def _relative(self, file: str) -> str:
        return file.removeprefix(f"{self._root}/")


def _main_thread() -> int:
    import threading  # noqa: PLC0415  # gevent's tests patch it first

    return threading.main_thread().ident or 0


def _identity(fixturedef: pytest.FixtureDef[Any]) -> str:
    return f"{fixturedef.baseid}::{fixturedef.argname}"  # fixtures of one name may stand in several files
