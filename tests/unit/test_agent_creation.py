"""Many engines of one line: the first are watched one by one, the rest as one."""

import gc
import threading

import sqlalchemy

from rushhour.agent.book import Book
from rushhour.agent.call_sites import Classifier, Site, Stack
from rushhour.agent.creation import SEPARATE, SEPARATE_ADDRESSES, is_merged, made_at
from rushhour.agent.tally import MAX_POOLS, Tally

MORE = Stack((Site("/app/views.py", 70, "more"),), (), ())
OTHER = Stack((Site("/app/db.py", 3, "<module>"),), (), ())
HERE = ("db", 5432, "shop")


def a_pool() -> sqlalchemy.pool.Pool:
    return sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.QueuePool).pool


def test_thousands_of_pools_of_one_line_are_sampled_without_a_fault() -> None:
    book = Book()
    tally = Tally(book, Classifier())
    made_at(book, a_pool(), HERE, OTHER)
    kept = [a_pool() for _ in range(3000)]
    states = {made_at(book, pool, HERE, MORE).id for pool in kept}
    assert len(states) == SEPARATE + 1
    records = tally.tick(1.0, final=True)
    [sample] = [record for record in records if record["k"] == "sample"]
    assert len(sample["pools"]) <= SEPARATE + 2 < MAX_POOLS
    assert not book.faults
    lines = {record["id"]: record["line"] for record in records if record["k"] == "line"}
    engines = {
        lines[record["at"]]: (record["made"], record["alive"])
        for record in records
        if record["k"] == "engines"
    }
    assert engines[70] == (3000, 3000)
    assert engines[3][0] == 1


def test_engines_that_are_disposed_of_before_the_next_is_made_stay_apart() -> None:
    book = Book()
    gc.freeze()  # so that a collection looks at the new pool, and not at all that other tests have left
    try:
        for _ in range(100):
            pool = a_pool()
            assert not is_merged(made_at(book, pool, HERE, MORE))
            del pool
            gc.collect()
    finally:
        gc.unfreeze()


def test_an_engine_for_each_of_a_few_databases_is_watched_by_itself() -> None:
    book = Book()
    kept = [a_pool() for _ in range(SEPARATE_ADDRESSES)]
    for number, pool in enumerate(kept):
        assert not is_merged(made_at(book, pool, ("db", 5432, f"tenant{number}"), MORE))
    assert is_merged(made_at(book, further := a_pool(), ("db", 5432, "one more"), MORE))
    assert further.__dict__["_rushhour_state"].address == ("db", 5432, None)


def test_a_pool_is_not_kept_alive_by_what_stands_for_it() -> None:
    book = Book()
    kept = [a_pool() for _ in range(SEPARATE + 5)]
    for pool in kept:
        made_at(book, pool, HERE, MORE)
    del kept, pool
    gc.collect()
    [site] = book.creations.values()
    assert (site.made, len(site.pools)) == (SEPARATE + 5, 0)


def test_threads_that_create_engines_at_once_share_one_state() -> None:
    book, kept = Book(), [a_pool() for _ in range(400)]

    def make(pools: list[sqlalchemy.pool.Pool]) -> None:
        for pool in pools:
            made_at(book, pool, HERE, MORE)

    threads = [threading.Thread(target=make, args=(kept[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("_rushhour_state" in pool.__dict__ for pool in kept)
    assert len([state for state in book.pools if is_merged(state)]) <= 8
    assert len(book.pools) < MAX_POOLS
