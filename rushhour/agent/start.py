"""Installs the agent in this process."""

from __future__ import annotations

import atexit
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from .after_import import AfterImport
from .book import Book, monotonic
from .boots import MODULES as WORKERS
from .boots import BootPatch
from .call_sites import Classifier
from .flask_requests import FlaskPatch, current_request, version_of
from .items import MODULES as ITEMS
from .items import ItemPatch
from .journal import say
from .loop_requests import MODULES as LOOP_SERVERS
from .loop_requests import LoopPatch
from .sampler import Sampler, ignore_errors
from .server_requests import MODULES, ServerPatch
from .stacks import StackFinder
from .uses import ORM, UsePatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from .exporter import Exporter


_installed: list[Book] = []  # of this process; one at most


def exporter_of(book: Book, directory: str) -> Exporter | None:
    """Return the exporter for RUSHHOUR_AGENT_METRICS. Raises ValueError if that is malformed."""
    place = os.environ.get("RUSHHOUR_AGENT_METRICS")
    if not place:
        return None
    from .exporter import Exporter, parse_address  # noqa: PLC0415  # most processes need none of it

    return Exporter(book, directory, parse_address(place), monotonic)


def install(directory: str) -> None:
    """Observe this process, with its file in `directory`; one line on stderr and no effect if that fails."""
    if sys.implementation.name != "cpython" or sys.version_info < (3, 11):
        say(f"process {os.getpid()} is not observed: it needs CPython 3.11 or newer, this is {sys.version}")
        return
    book = Book()
    classifier = Classifier()
    undo: list[Callable[[], None]] = []

    def give_up() -> None:
        for remove in undo:
            ignore_errors(book, "removing patches", remove)()

    try:
        exporter = exporter_of(book, directory)
    except ValueError as error:
        say(f"no metrics from process {os.getpid()}: {error}")
        exporter = None
    journal = os.environ.get("RUSHHOUR_AGENT_JOURNAL", "on") != "off"
    sampler = Sampler(book, classifier, directory, give_up, exporter=exporter, journal=journal)
    try:
        sampler.announce()
    except OSError as error:
        say(f"process {os.getpid()} is not observed: {error}")
        return

    _patch(book, classifier, sampler, undo)
    os.register_at_fork(
        before=ignore_errors(book, "before fork", sampler.pause),
        after_in_parent=ignore_errors(book, "after fork", sampler.resume),
        after_in_child=ignore_errors(book, "after fork in the child", sampler.resume_in_child),
    )
    atexit.register(ignore_errors(book, "exit", sampler.finish))
    _finish_before_os_exit(_cut_short(book, sampler))
    _installed.append(book)


def _finish_before_os_exit(finish: Callable[[], None]) -> None:
    """`os._exit` runs no hooks of `atexit`; processes of `multiprocessing` and Celery end so."""
    end = os._exit

    def _exit(status: int) -> NoReturn:
        try:
            finish()
        finally:  # a handler of a signal may raise meanwhile
            end(status)

    os._exit = _exit


def _finish_before_own_signal(finish: Callable[[], None], signals: ModuleType) -> None:
    """uvicorn ends in order, and then by the signal that asked it to, so that no hook of `atexit` runs."""
    end = signals.raise_signal
    ending = (signals.SIGTERM, signals.SIGINT, signals.SIGHUP, signals.SIGQUIT)

    def raise_signal(number: int) -> None:
        if number in ending and signals.getsignal(number) == signals.SIG_DFL:
            finish()
        end(number)

    signals.raise_signal = raise_signal  # type: ignore[attr-defined]  # of the module `signal`


def _cut_short(book: Book, sampler: Sampler) -> Callable[[], None]:
    return ignore_errors(book, "exit", partial(sampler.finish, cut_short=True))


def watch_in_process() -> Book:
    """Observe this process without a file or a thread: the caller reads the book. For tests.

    Where the agent is here already, its own book. Raises RuntimeError in an unknown interpreter.
    """
    if sys.implementation.name != "cpython" or sys.version_info < (3, 11):
        raise RuntimeError(f"the pool agent needs CPython 3.11 or newer, this is {sys.version}")
    injected = sys.modules.get("_rushhour_agent.start")
    books: list[Book] = _installed if injected is None else injected._installed
    if not books:
        book = Book()
        _patch(book, Classifier(), None, [])
        books.append(book)
    return books[0]


def _patch(
    book: Book, classifier: Classifier, sampler: Sampler | None, undo: list[Callable[[], None]]
) -> None:
    """Patch what is imported already, and the rest as soon as it is; `undo` gets what takes it out again."""
    servers, loops = ServerPatch(book), LoopPatch(book)
    flask_patch = FlaskPatch(book, classifier, servers.step_aside)
    items = ItemPatch(book, current_request)
    boots = BootPatch(book)
    undo += [servers.remove, loops.remove, flask_patch.remove, items.remove, boots.remove]
    actions = {"flask": flask_patch.apply, **dict.fromkeys(MODULES, servers.apply)}

    def patch_sqlalchemy(module: ModuleType) -> None:
        from .sqlalchemy_pools import PoolPatch  # noqa: PLC0415  # it imports threading: not before gevent patches

        on_pool = _nothing if sampler is None else sampler.ensure_running
        patch = PoolPatch(book, classifier, StackFinder(classifier).hot_path(), current_request, on_pool)
        uses = UsePatch(book, current_request)
        undo.extend((patch.remove, uses.remove))
        try:
            patch.apply(module)
            uses.apply(module)
            if ORM in sys.modules:
                uses.apply(sys.modules[ORM])
            else:
                actions[ORM] = uses.apply
        except Exception as error:
            patch.remove()
            uses.remove()
            book.fault("patching sqlalchemy", error)
        if sampler is not None:
            if "uwsgi" in sys.modules:
                from .uwsgi_hooks import UwsgiHooks  # noqa: PLC0415  # not elsewhere

                hooks = UwsgiHooks(book, sampler, servers)
                actions["uwsgidecorators"] = hooks.again
                hooks.apply(sys.modules["uwsgi"])
            sampler.report()

    def patch_starlette(module: ModuleType) -> None:
        from .asgi_requests import StarlettePatch  # noqa: PLC0415  # not where Starlette is not

        patch = StarlettePatch(book, classifier)
        undo.append(patch.remove)
        patch.apply(module)

    def patch_fastapi(module: ModuleType) -> None:
        from .asgi_requests import FastapiPatch  # noqa: PLC0415  # as above

        patch = FastapiPatch(book, classifier)
        undo.append(patch.remove)
        patch.apply(module)

    def know_flask_sqlalchemy(_: ModuleType) -> None:
        book.modules["flask_sqlalchemy"] = version_of("flask-sqlalchemy")

    actions |= {
        "flask_sqlalchemy": know_flask_sqlalchemy,
        "sqlalchemy": patch_sqlalchemy,
        "starlette.applications": patch_starlette,
        "fastapi.routing": patch_fastapi,
        **dict.fromkeys(LOOP_SERVERS, loops.apply),
        **dict.fromkeys(ITEMS, items.apply),
        **dict.fromkeys(WORKERS, boots.apply),
    }
    if sampler is not None:
        actions["signal"] = partial(_finish_before_own_signal, _cut_short(book, sampler))
    AfterImport(actions, book.fault).install()


def _nothing() -> None:
    pass
