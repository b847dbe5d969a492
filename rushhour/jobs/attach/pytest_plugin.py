"""`pytest --pool-leaks`: a test in which a connection stays out of its SQLAlchemy pool fails, with the line.

The pool agent runs in pytest's own process, without its files and its thread. Neither it nor SQLAlchemy is
imported unless the option is given.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from rushhour.jobs.attach.pytest_fixtures import identity_of, namespace_of, reachable
from rushhour.jobs.attach.pytest_summary import Seen

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from rushhour.agent.book import Book, Hold
    from rushhour.jobs.annotate.formats import Formats

MARKER = "allow_pool_leaks"
THREADS_SETTLE_S = 0.5  # what other threads hold may be on its way back when the test ends
POLL_S = 0.01
OUTPUT = "rushhour_pool_leaks"  # what a worker of pytest-xdist sends to the process that prints the summary


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rushhour", "connections of SQLAlchemy's pools")
    group.addoption(
        "--pool-leaks",
        action="store_true",
        help="fail a test in which a connection stays checked out, and name the line that took it",
    )
    group.addoption(
        "--annotate",
        action="append",
        default=[],
        metavar="FORMAT",
        help="with --pool-leaks, write leaks with their lines for a CI server: github, gitlab (as code "
        "quality), sarif, or none; gitlab and sarif take a file, as in sarif=rushhour.sarif. May be given "
        "several times. On GitHub Actions and GitLab CI it is on without being asked for",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARKER}: with --pool-leaks, this test may leave connections out")
    if config.getoption("--pool-leaks"):
        from rushhour.agent.start import watch_in_process  # noqa: PLC0415  # not where nobody asks for it

        leaks = PoolLeaks(watch_in_process(), config.rootpath, _formats(config.getoption("--annotate")))
        config.pluginmanager.register(leaks, "rushhour-pool-leaks")
    elif config.getoption("--annotate"):
        raise pytest.UsageError("--annotate needs --pool-leaks: without it nothing is looked for")


def _formats(asked: list[str]) -> Formats:
    from rushhour.errors import UsageError  # noqa: PLC0415  # not where nobody asks for it
    from rushhour.jobs.annotate.formats import formats_of  # noqa: PLC0415  # as above

    try:
        return formats_of(asked, None, os.environ)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


class PoolLeaks:
    """Knows which check-outs are a test's, and which belong to a fixture that outlives the test."""

    def __init__(self, book: Book, root: Path, formats: Formats) -> None:
        self._book = book
        self._root = root
        self._formats = formats
        self._before: set[Hold] = set()
        self._of_fixture: dict[Hold, str] = {}  # of a fixture wider than a test, which may still return it
        self._wide: dict[str, tuple[pytest.FixtureDef[Any], object]] = {}  # those set up, the widest first
        self._late: list[str] = []  # left behind by a fixture that has been torn down
        self._late_holds: dict[str, set[Hold]] = {}  # the same, by the fixture's name
        self._reported: set[Hold] = set()
        self._leaked_items: set[str] = set()
        self._seen = Seen()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, None, None]:
        self._book.ended.clear()
        self._book.lasted.clear()
        self._before = set(self._book.live)
        yield

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        before = set(self._book.live)
        result = yield
        if fixturedef.scope != "function":
            self._wide[identity_of(fixturedef)] = (fixturedef, namespace_of(fixturedef, request))
            for hold in set(self._book.live) - before:  # an inner fixture has had its own by now
                self._of_fixture.setdefault(hold, identity_of(fixturedef))
        return result

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        name = identity_of(fixturedef)
        self._wide.pop(name, None)
        mine = {hold for hold, owner in self._of_fixture.items() if owner == name}
        left = mine & set(self._book.live) - self._reported
        if left:
            where = f"fixture {fixturedef.argname} ({fixturedef.scope}) has been torn down, and"
            self._late.append(self._words(where, left, set()))
            self._late_holds[f"fixture {fixturedef.argname}"] = left
            self._reported |= left
        for hold in mine:
            del self._of_fixture[hold]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        try:
            yield
        except (Exception, pytest.fail.Exception, pytest.skip.Exception):
            if text := self._judge(item):
                item.add_report_section("teardown", "pool leaks", text)
            raise
        if text := self._judge(item):
            pytest.fail(text, pytrace=False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Fail the teardown of a test that leaked, also if the test is expected to fail."""
        report = yield
        if call.when == "teardown" and item.nodeid in self._leaked_items:
            self._leaked_items.discard(item.nodeid)
            report.outcome = "failed"
            vars(report).pop("wasxfail", None)
        return report

    def _judge(self, item: pytest.Item) -> str:
        """Return what to say against a test that has been torn down; empty when nothing stays out."""
        left, collected = self._left_out()
        self._reported |= left
        late, self._late = self._late, []
        late_holds, self._late_holds = self._late_holds, {}
        if item.get_closest_marker(MARKER) is not None:
            return ""
        said = [self._words("after this test", left, collected)] if left or collected else []
        if said or late:
            self._seen.leaked_tests += 1
            self._leaked_items.add(item.nodeid)
            file, line, function = item.location
            test = [str(self._root / file), (line or 0) + 1, function]
            self._record(item.nodeid, "still out", left, test)
            self._record(item.nodeid, "came back by garbage collection alone", collected, test)
            for fixture, holds in late_holds.items():
                self._record(f"{item.nodeid} ({fixture})", "still out", holds, test)
        return "\n".join([*said, *late])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._seen.pools += len(self._book.pools)
        self._seen.modules |= self._book.modules
        for fault, times in self._book.faults.items():
            self._seen.faults[fault] = self._seen.faults.get(fault, 0) + times
        output = getattr(session.config, "workeroutput", None)  # of a worker of pytest-xdist
        if output is not None:
            output[OUTPUT] = self._seen.plain()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add what a worker of pytest-xdist saw, at its end."""
        self._seen.add_worker(getattr(node, "workeroutput", {}).get(OUTPUT))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for line in self._seen.lines():
            terminalreporter.write_line(line)
        from rushhour.jobs.annotate.formats import Formats  # noqa: PLC0415  # not where nobody asks for it

        if self._formats != Formats():
            from rushhour.jobs.attach.pytest_annotations import annotate  # noqa: PLC0415  # as above

            annotate(self._formats, self._seen, self._root, terminalreporter.write_line)

    def _left_out(self) -> tuple[set[Hold], set[Hold]]:
        """Return this test's check-outs that are out, and those that only garbage collection brought back."""
        deadline = time.monotonic() + THREADS_SETTLE_S
        while any(hold.thread != _main_thread() for hold in self._new()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if self._new():
            gc.collect()  # an abandoned session is in a cycle, and would come back some day
        self._give_to_fixtures()
        collected = {
            hold
            for hold in self._book.ended
            if hold.how == "gc" and hold not in self._before | self._reported
        }
        return self._new(), collected

    def _give_to_fixtures(self) -> None:
        """Leave connections that a wider fixture can reach, as by its session, to be judged at its end."""
        wanted = {id(proxy): hold for hold in self._new() if (proxy := hold.proxy()) is not None}
        for name, (fixturedef, namespace) in self._wide.items():
            if not wanted:
                return
            finalizers = getattr(fixturedef, "_finalizers", ())  # a fixture that yields keeps its locals here
            for found in reachable((fixturedef.cached_result, finalizers, namespace)):
                hold = wanted.pop(id(found), None)
                if hold is not None:
                    self._of_fixture[hold] = name

    def _new(self) -> set[Hold]:
        return set(self._book.live.copy()) - self._before - self._of_fixture.keys() - self._reported

    def _record(self, test: str, what: str, holds: set[Hold], place: list[Any]) -> None:
        for hold in holds:
            sites = [[site.file, site.line, site.function] for site in hold.stack.sites]
            self._seen.leaks.append({"test": test, "what": what, "sites": [*sites, place]})

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
    return threading.main_thread().ident or 0
