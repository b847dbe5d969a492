"""Loops that take connections: some leave them out, some keep or use them, and wait for their next item."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count, cycle
from typing import Any

from sqlalchemy.orm import Session

from tests.unit.rounds_subject import DEADLINE_S, Take
from tests.unit.standing_subject import compiled

KEPT_BY_THREAD: dict[int, Session] = {}
CURRENT: ContextVar[list[Session]] = ContextVar("CURRENT")


@contextmanager
def in_a_scope() -> Iterator[None]:
    CURRENT.set([])
    yield


def leaves_it(items: Any, take: Take) -> None:
    while True:
        items.get()
        session = take()
        session.info["used"] = True


def leaves_it_and_asks_again_after_a_while(items: Any, take: Take) -> None:
    running = True
    while running:
        try:
            items.get(timeout=DEADLINE_S)
        except queue.Empty:
            continue
        take()


def leaves_it_and_passes_items_over(items: Any, take: Take) -> None:
    with suppress(ValueError):
        int("none")
    running = True
    while running:
        if items.get() is None:
            continue
        take()


def leaves_it_with_what_it_waits_for_in_the_same_line(items: Any, take: Take) -> None:
    def handle(_: int) -> None:
        take()

    while True:
        handle(items.get())


def leaves_it_further_in(items: Any, take: Take) -> None:
    def handle() -> None:
        take()

    for _ in iter(items.get, None):
        handle()


def leaves_it_while_it_names_its_items(items: Any, take: Take) -> None:
    while (item := items.get()) is not None:
        session = take()
        session.info["item"] = item


def leaves_it_over_a_generator(items: Any, take: Take) -> None:
    def rounds() -> Iterator[int]:
        while True:
            yield items.get()

    for _ in rounds():
        take()


def runs_as_a_script(source: str, items: Any, take: Take) -> None:
    script = compile(source, "/srv/app/work.py", "exec")
    exec(script, {"items": items, "take": take})  # noqa: S102  # as Python runs one


def leaves_it_in_a_script(items: Any, take: Take) -> None:
    runs_as_a_script("while True:\n    items.get()\n    session = take()\n    session.info\n", items, take)


def leaves_it_in_a_folder_that_is_called_as_a_library(items: Any, take: Take) -> None:
    source = "def work(items, take):\n    while True:\n        items.get()\n        take()\n"
    compiled(source, "/srv/app/sqlalchemy/work.py", "work")(items, take)


def leaves_it_in_a_generator(items: Any, take: Take) -> None:
    for session in yields_each(items, take):
        session.info["used"] = True


def leaves_it_after_it_has_gathered_items(items: Any, take: Take) -> None:
    while True:
        batch = [items.get() for _ in range(1)]
        take().info["batch"] = batch


def leaves_it_and_asks_at_the_end_of_a_round(items: Any, take: Take) -> None:
    item = items.get()
    while item is not None:
        take().info["item"] = item
        item = items.get()


def leaves_it_and_asks_at_the_end_of_an_endless_round(items: Any, take: Take) -> None:
    item = items.get()
    while True:
        if item is None:
            break
        take().info["item"] = item
        item = items.get()


def leaves_it_and_asks_at_the_end_of_a_line(items: Any, take: Take) -> None:
    work = compiled(
        "def work(items, take):\n"
        "    item = items.get()\n"
        "    while item is not None:\n"
        "        take().info['item'] = item; item = items.get()\n",
        "/srv/app/work.py",
        "work",
    )
    work(items, take)


def leaves_it_and_asks_through_a_function(items: Any, take: Take) -> None:
    def ask() -> int:
        while True:
            try:
                return int(items.get(timeout=DEADLINE_S))
            except queue.Empty:
                continue

    def next_item() -> int:
        return ask()

    while True:
        item = next_item()
        take().info["item"] = item


def leaves_it_and_waits_for_a_signal(items: Any, take: Take) -> None:
    def next_item() -> int:
        with items.not_empty:
            while not items.queue:
                items.not_empty.wait()
            return int(items._get())

    while True:
        item = next_item()
        take().info["item"] = item


class Worker:
    """One that is made of methods, of which one does a round."""

    def __init__(self, items: Any, take: Take) -> None:
        self.items, self.take = items, take

    def next_item(self) -> int:
        return int(self.items.get())

    def handle(self, item: int) -> None:
        self.take().info["item"] = item

    def does_a_round(self) -> None:
        item = self.next_item()
        if item:
            self.handle(item)

    def runs(self) -> None:
        while True:
            self.does_a_round()


def leaves_it_in_a_function_that_does_a_round(items: Any, take: Take) -> None:
    Worker(items, take).runs()


def keeps_it_in_a_variable(items: Any, take: Take) -> None:
    session = None
    while True:
        items.get()
        if session is None:
            session = take()
        session.info["used"] = True


def keeps_it_in_an_object(items: Any, take: Take) -> None:
    class Own:
        sessions: dict[int, Session]

    own = Own()
    own.sessions = {}
    while True:
        number = items.get()
        if number not in own.sessions:
            own.sessions[number] = take()


class Slotted:
    __slots__ = ("session",)

    def __init__(self, session: Session) -> None:
        self.session = session

    def use(self) -> None:
        self.session.info["used"] = True


def keeps_each_in_an_object_in_a_list(items: Any, take: Take) -> None:
    batch: list[tuple[int, dict[str, Slotted]]] = []
    while True:
        batch.append((items.get(), {"own": Slotted(take())}))


def keeps_each_in_an_object_with_much_else(items: Any, take: Take) -> None:
    class Settings:
        def __init__(self) -> None:
            vars(self).update({f"number_{number}": number for number in range(50)})
            vars(self).update({f"name_{number}": None for number in range(50)})
            self.others = [object() for _ in range(50)]
            self.sessions = list[Session | None]([None] * 50)

    kept = Settings()
    while True:
        items.get()
        kept.sessions.append(take())


def keeps_each_in_a_method(items: Any, take: Take) -> None:
    uses: list[Callable[[], None]] = []
    while True:
        items.get()
        uses.append(Slotted(take()).use)


def keeps_each_in_a_function(items: Any, take: Take) -> None:
    uses: list[Callable[[], bool]] = []

    def using(session: Session) -> Callable[[], bool]:
        return lambda: session.info["used"]

    while True:
        items.get()
        uses.append(using(take()))


def keeps_each_in_a_list_that_it_adds_to(items: Any, take: Take) -> None:
    batch: list[tuple[int, Session]] = []
    while True:
        batch += [(items.get(), take())]


def keeps_each_in_a_list_that_it_makes_anew(items: Any, take: Take) -> None:
    worker, batch = Worker(items, take), list[tuple[int, Session]]()
    while True:
        batch = [
            *batch,
            (worker.next_item(), worker.take()),
        ]


def keeps_each_in_a_script(items: Any, take: Take) -> None:
    runs_as_a_script("batch = []\nwhile True:\n    items.get()\n    batch.append(take())\n", items, take)


def keeps_each_in_a_comprehension(items: Any, take: Take) -> None:
    _ = [take() for _ in iter(items.get, None)]


def keeps_each_in_a_comprehension_of_two_loops(items: Any, take: Take) -> None:
    _ = {number: (item, take()) for number in count() for item in [items.get()]}


def keeps_each_of_a_function_in_a_comprehension(items: Any, take: Take) -> None:
    def next_one() -> Session:
        items.get()
        return take()

    _ = [next_one() for _ in count()]


def keeps_each_of_a_generator_in_a_list(items: Any, take: Take) -> None:
    _ = list(take() for _ in iter(items.get, None))  # noqa: C400  # no comprehension


def keeps_each_of_a_generator_in_a_comprehension(items: Any, take: Take) -> None:
    _ = [session for session in (take() for _ in iter(items.get, None)) if session]


def yields_each(items: Any, take: Take) -> Iterator[Session]:
    while True:
        items.get()
        yield take()


def keeps_each_of_a_generator_in_a_variable(items: Any, take: Take) -> None:
    batch = []
    for session in yields_each(items, take):
        batch.append(session)  # noqa: PERF402  # as services do


def keeps_each_of_a_generator_that_it_asks(items: Any, take: Take) -> None:
    batch, sessions = [], yields_each(items, take)
    while True:
        batch.append(next(sessions))


def keeps_each_of_a_generator_of_a_generator(items: Any, take: Take) -> None:
    def again() -> Iterator[Session]:
        yield from yields_each(items, take)

    batch = []
    for session in again():
        batch.append(session)  # noqa: PERF402  # as services do


def keeps_each_of_a_generator_in_one_of_a_library(items: Any, take: Take) -> None:
    chunked = compiled(
        "def chunked(items):\n    chunk = []\n    for item in items:\n        chunk.append(item)\n"
        "        if len(chunk) == 9:\n            yield chunk\n            chunk = []\n",
        *("/srv/venv/lib/python3.11/site-packages/more.py", "chunked"),
    )
    for chunk in chunked(yields_each(items, take)):
        chunk.clear()


def keeps_it_in_a_global_variable(items: Any, take: Take) -> None:
    def handle(thread: int) -> None:
        if thread not in KEPT_BY_THREAD:
            KEPT_BY_THREAD[thread] = take()
        KEPT_BY_THREAD[thread].info["used"] = True

    while True:
        items.get()
        handle(threading.get_ident())


def keeps_it_in_a_block_around_its_loop(items: Any, take: Take) -> None:
    def handle() -> None:
        scope = CURRENT.get()
        if not scope:
            scope.append(take())
        scope[0].info["used"] = True

    with in_a_scope():
        for _ in iter(items.get, None):
            handle()


def keeps_it_in_a_generator(items: Any, take: Take) -> None:
    def steps() -> Iterator[None]:
        session = take()
        while True:
            session.info["used"] = True
            yield

    own = None
    while True:
        items.get()
        own = own or steps()
        next(own)


def took_it_before_its_loop(items: Any, take: Take) -> None:
    take()
    while True:
        items.get()


def waits_within_a_round(items: Any, take: Take) -> None:
    while True:
        take()
        items.get()


def waits_with_one_in_hands(items: Any, take: Take) -> None:
    def work(session: Session, item: int) -> None:
        session.info["item"] = item

    while True:
        work(take(), items.get())


def waits_for_how_it_went(items: Any, take: Take) -> None:
    goes_on = 1
    while goes_on:
        take()
        goes_on = items.get()


def waits_for_how_it_went_in_an_endless_loop(items: Any, take: Take) -> None:
    goes_on = 1
    while True:
        if not goes_on:
            break
        take()
        goes_on = items.get()


def waits_for_a_result_in_a_function(items: Any, take: Take) -> None:
    def result() -> int:
        return int(items.get())

    while True:
        session = take()
        session.info["result"] = result()


def waits_in_a_function_that_has_it_in_hands(items: Any, take: Take) -> None:
    def round_of(worker: Worker) -> None:
        worker.handle(1)
        worker.next_item()

    while True:
        round_of(Worker(items, take))


def takes_and_waits_in_the_same_call(items: Any, take: Take) -> None:
    for step in cycle((take, items.get)):
        step()


def is_called_back_by_a_library_for_an_answer(items: Any, take: Take) -> None:
    call = compiled(
        "def call(back):\n    return back()\n", "/srv/venv/lib/python3.11/site-packages/rpc.py", "call"
    )

    def answer() -> int:
        return int(items.get())

    while True:
        call(answer)
        take()


def does_two_things_one_after_another(items: Any, take: Take) -> None:
    worker = Worker(items, take)
    worker.does_a_round()
    worker.does_a_round()
    worker.next_item()


def keeps_it_in_what_it_calls_for_each_round(items: Any, take: Take) -> None:
    class Keeping(Worker):
        session: Session | None = None

        def handle(self, item: int) -> None:
            self.session = self.take()
            self.session.info["item"] = item

    Keeping(items, take).runs()


def keeps_each_in_a_generator_of_its_own(items: Any, take: Take) -> None:
    def steps() -> Iterator[None]:
        items.get()
        session = take()
        yield
        session.info["used"] = True

    kept = []
    while True:
        kept.append(steps())
        next(kept[-1])


def waits_for_results(items: Any, take: Take) -> None:
    take()
    for _ in range(3):
        items.get()


def asks_another_for_an_answer(items: Any, take: Take) -> None:
    ask = compiled(
        "def ask(items):\n    return items.get()\n", "/srv/venv/lib/python3.11/site-packages/rpc.py", "ask"
    )
    while True:
        ask(items)
        take()


def waits_for_a_connection_of_a_pool(items: Any, take: Take) -> None:
    file = "/srv/venv/lib/python3.11/site-packages/sqlalchemy/util/queue.py"
    ask = compiled("def get(items):\n    return items.get()\n", file, "get")
    while True:
        ask(items)
        take()


LEFT = (
    leaves_it,
    leaves_it_and_asks_again_after_a_while,
    leaves_it_and_passes_items_over,
    leaves_it_with_what_it_waits_for_in_the_same_line,
    leaves_it_further_in,
    leaves_it_while_it_names_its_items,
    leaves_it_over_a_generator,
    leaves_it_in_a_generator,
    leaves_it_in_a_script,
    leaves_it_in_a_folder_that_is_called_as_a_library,
    leaves_it_after_it_has_gathered_items,
    leaves_it_and_asks_at_the_end_of_a_round,
    leaves_it_and_asks_at_the_end_of_an_endless_round,
    leaves_it_and_asks_at_the_end_of_a_line,
    leaves_it_and_asks_through_a_function,
    leaves_it_in_a_function_that_does_a_round,
    leaves_it_and_waits_for_a_signal,
)
KEPT = (
    keeps_it_in_a_variable,
    keeps_it_in_an_object,
    keeps_each_in_an_object_in_a_list,
    keeps_each_in_an_object_with_much_else,
    keeps_each_in_a_method,
    keeps_each_in_a_function,
    keeps_each_in_a_list_that_it_adds_to,
    keeps_each_in_a_list_that_it_makes_anew,
    keeps_each_in_a_script,
    keeps_each_in_a_comprehension,
    keeps_each_in_a_comprehension_of_two_loops,
    keeps_each_of_a_function_in_a_comprehension,
    keeps_each_of_a_generator_in_a_list,
    keeps_each_of_a_generator_in_a_comprehension,
    keeps_each_of_a_generator_in_a_variable,
    keeps_each_of_a_generator_that_it_asks,
    keeps_each_of_a_generator_of_a_generator,
    keeps_each_of_a_generator_in_one_of_a_library,
    keeps_it_in_a_global_variable,
    keeps_it_in_a_block_around_its_loop,
    keeps_it_in_a_generator,
    took_it_before_its_loop,
    waits_within_a_round,
    waits_with_one_in_hands,
    waits_for_how_it_went,
    waits_for_how_it_went_in_an_endless_loop,
    waits_for_a_result_in_a_function,
    waits_in_a_function_that_has_it_in_hands,
    takes_and_waits_in_the_same_call,
    is_called_back_by_a_library_for_an_answer,
    does_two_things_one_after_another,
    keeps_it_in_what_it_calls_for_each_round,
    keeps_each_in_a_generator_of_its_own,
    waits_for_results,
    asks_another_for_an_answer,
    waits_for_a_connection_of_a_pool,
)
