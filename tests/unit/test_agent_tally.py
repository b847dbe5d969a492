"""From a hand-written book to records, tick by tick."""

import queue
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from rushhour.agent import sqlalchemy_pools
from rushhour.agent.book import Book, Hold, Request, Slot, Timeout
from rushhour.agent.call_sites import Classifier, Site, Stack
from rushhour.agent.flask_requests import current_request
from rushhour.agent.owners import GREENLET, TASK, THREAD, Owner
from rushhour.agent.sqlalchemy_pools import PoolPatch
from rushhour.agent.tally import MAX_POOLS, Tally

ROWS = Stack((Site("/app/db.py", 12, "rows"), Site("/app/views.py", 40, "view")), (), ())
OTHER = Stack((Site("/app/db.py", 12, "rows"), Site("/app/jobs.py", 7, "job")), (), ())
NAMES = ("size", "overflow", "timeout", "checked_out", "live", "waiting", "leaked")
COUNTERS = ("timeouts", "connects", "checkouts", "checkins")


class FakePool:
    """The attributes of a QueuePool that the agent reads, on the same kind of queue."""

    def __init__(self, size: int = 2, max_overflow: int = 1) -> None:
        self._pool: queue.Queue[object] = queue.Queue(size)
        self._max_overflow = max_overflow
        self._overflow = -size
        self._timeout = 30.0


class Story:
    """A service's life, told by the test."""

    def __init__(self) -> None:
        self.book = Book()
        self.tally = Tally(self.book, Classifier())
        self.pool = FakePool()
        self.state = self.book.pool_state(self.pool)
        self.pools = PoolPatch(self.book, Classifier(), lambda _: ROWS, current_request, lambda: None)

    def take(
        self,
        at: float,
        stack: Stack = ROWS,
        request: Request | None = None,
        waited: float = 0.0,
        owner: Owner | None = None,
    ) -> Hold:
        hold = Hold()
        hold.scoped, hold.followed = None, False
        hold.slot = Slot(self.state)
        hold.waited, hold.taken = waited, at
        hold.proxy = _must_not_be_followed
        hold.stack, hold.request, hold.thread, hold.returned = stack, request, 0, None
        hold.owner, hold.lost = owner or Owner(THREAD, 0), None
        hold.others, hold.used = None, at
        self.book.live[hold] = hold
        self.pool._overflow += 1
        return hold

    def give_back(self, hold: Hold, at: float) -> None:
        hold.slot.hold, hold.proxy = hold, lambda: self
        record = SimpleNamespace(_rushhour_slot=hold.slot, dbapi_connection=self)
        with patch.object(sqlalchemy_pools, "monotonic", lambda: at):
            self.pools._return_conn(lambda _pool, _record: None)(self.pool, record)
        assert not self.book.faults
        self.pool._overflow -= 1

    def tick(self, now: float, *kinds: str) -> list[dict[str, Any]]:
        return [dict(record) for record in self.tally.tick(now) if not kinds or record["k"] in kinds]

    def row(self, now: float) -> dict[str, float]:
        [sample] = self.tick(now, "sample")
        [row] = sample["pools"]
        return dict(zip(("pool", *NAMES, *COUNTERS), row, strict=True))


def _must_not_be_followed() -> Any:
    raise AssertionError("the sampler followed a weak reference to a proxy")


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_row_per_pool(story: Story) -> None:
    story.give_back(story.take(10.0), 10.5)
    story.take(10.2)
    assert story.row(11.0) == {
        "pool": 1,
        "size": 2,
        "overflow": 1,
        "timeout": 30.0,
        "checked_out": 1,
        "live": 1,
        "waiting": 0,
        "leaked": 0,
        "timeouts": 0,
        "connects": 0,
        "checkouts": 2,
        "checkins": 1,
    }


def test_an_idle_service_is_sampled_all_the_same(story: Story) -> None:
    assert [record["k"] for record in story.tick(1.0)] == ["pool", "sample"]
    assert [record["k"] for record in story.tick(1.1)] == ["sample"]


def test_only_check_outs_that_last_are_written_and_each_once(story: Story) -> None:
    short, long = story.take(10.0), story.take(10.0)
    assert story.tick(10.05, "out", "back") == []
    story.give_back(short, 10.06)
    [out] = story.tick(10.15, "out", "back")
    assert (out["k"], out["id"], out["endpoint"], out["taken"]) == ("out", 1, None, 10.0)
    assert story.tick(10.2, "out", "back") == []
    story.give_back(long, 10.25)
    assert story.tick(10.3, "out", "back") == [{"k": "back", "id": 1, "t": 10.25, "how": "close"}]


class Busy(deque[Any]):
    """Events, of which a thread of the service adds one as the sampler begins to take them."""

    def __init__(self, before: deque[Any], act: Callable[[], None]) -> None:
        super().__init__(before, before.maxlen)
        self._acts = [act]

    def __len__(self) -> int:
        while self._acts:
            self._acts.pop()()
        return super().__len__()


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("taken_from", ["ended", "opened", "timeouts"])
def test_what_comes_back_during_a_tick_is_counted_once_and_does_not_stay_out(
    story: Story, taken_from: str, *, ended: bool
) -> None:
    request = Request("GET", None)
    hold = story.take(10.0, request=request)
    request.ended = 10.01 if ended else None
    before = getattr(story.book, taken_from)
    setattr(story.book, taken_from, Busy(before, lambda: story.give_back(hold, 10.19)))
    records = [*story.tick(10.2), *story.tick(10.3)]
    counts = [
        dict(zip(("pool", *NAMES, *COUNTERS), record["pools"][0], strict=True))
        for record in records
        if record["k"] == "sample"
    ]
    assert max(count["checkouts"] for count in counts) == counts[-1]["checkouts"] == 1
    assert (counts[-1]["live"], counts[-1]["leaked"]) == (0, 0)
    out, back = ([record["id"] for record in records if record["k"] == kind] for kind in ("out", "back"))
    assert out == back


def test_of_a_check_out_that_came_back_between_two_samples_only_its_times_wait_for_the_next(
    story: Story,
) -> None:
    request = Request("GET", None)
    request.label = "GET /"
    story.give_back(story.take(10.0, request=request), 10.01)
    assert not story.book.ended
    [site] = story.tick(11.0, "site")
    assert (site["endpoint"], site["checkouts"], site["held"]) == ("GET /", 1, 0.01)


def test_a_check_out_counts_for_the_endpoint_that_was_known_only_after_it_came_back(story: Story) -> None:
    request = Request("GET", None)
    story.give_back(story.take(10.0, request=request), 10.01)  # as by a middleware, before the route is known
    request.label = "GET /"
    [site] = story.tick(11.0, "site")
    assert (site["endpoint"], site["checkouts"]) == ("GET /", 1)


def test_what_comes_back_while_it_is_about_to_be_written_is_counted_once(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = story.take(10.0)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(story.tally._units, "look", lambda *_: story.give_back(hold, 10.2))
        assert story.tick(10.2, "out", "back") == []
    row = story.row(10.3)
    assert (row["live"], row["checkouts"], row["checkins"]) == (0, 1, 1)
    assert story.tick(10.4, "out", "back") == []


def test_a_check_out_of_a_task_is_written_as_such() -> None:
    story = Story()
    story.take(10.0, owner=Owner(TASK, 0))
    story.take(10.0, owner=Owner(GREENLET, 0))
    assert [one.get("task") for one in story.tick(10.15, "out")] == [True, None]


@pytest.mark.parametrize(("first", "own"), [(0.5, True), (None, False), (0.0, False)])
def test_what_a_worker_took_as_it_started_is_written_as_its_own(
    story: Story, first: float | None, *, own: bool
) -> None:
    worker = Owner(THREAD, 0)
    worker.first = first
    story.take(0.1, owner=worker)
    [out] = story.tick(0.3, "out")
    assert out.get("own", False) is own


def test_a_request_that_ended_gets_a_moment_to_clean_up(story: Story) -> None:
    request = Request("GET", None)
    request.label = "GET /customers/<int:customer_id>"
    story.take(10.0, request=request)
    assert story.tick(10.05, "out", "ended") == []
    request.ended = 10.06
    assert story.row(10.15)["leaked"] == 0
    assert story.tick(10.17, "ended") == [{"k": "ended", "id": 1, "t": 10.06}]
    assert story.row(10.26)["leaked"] == 1
    assert story.tick(10.36, "ended") == []


def test_what_is_taken_after_the_end_of_a_request_is_not_its_own(story: Story) -> None:
    request = Request("GET", None)
    request.ended = 9.0
    story.take(10.0, request=request)
    assert story.row(20.0)["leaked"] == 0


def test_totals_are_per_line_and_endpoint_and_written_when_they_change(story: Story) -> None:
    story.give_back(story.take(10.0), 10.5)
    story.give_back(story.take(10.0, OTHER), 10.25)
    story.take(10.9, OTHER)
    [site] = story.tick(11.0, "site")
    assert (site["checkouts"], site["held"], site["longest"]) == (3, 0.75, 0.5)
    assert story.tick(12.0, "site") == []


def test_a_line_has_a_histogram_of_the_holds_since_its_last_record(story: Story) -> None:
    for at, stack, held in ((10.0, ROWS, 0.001), (10.1, OTHER, 0.001), (10.2, ROWS, 0.05)):
        story.give_back(story.take(at, stack), at + held)
    [site] = story.tick(11.0, "site")
    assert (site["checkouts"], site["hold"]) == (3, {1024: 2, 65536: 1})
    story.take(11.1)
    [site] = story.tick(12.0, "site")
    assert (site["checkouts"], site["hold"]) == (4, {})
    story.give_back(story.take(12.1), 12.3)
    [site] = story.tick(13.0, "site")
    assert (site["checkouts"], site["hold"]) == (5, {262144: 1})


def test_histograms_hold_what_was_added_since_the_last(story: Story) -> None:
    story.tick(9.0)
    story.give_back(story.take(10.0, waited=0.001), 10.000003)  # waited 1 ms, held 3 us
    story.book.opened.append((story.state, 0.000_5))
    [times] = story.tick(10.1, "times")
    assert (times["wait"], times["hold"], times["create"]) == ({1024: 1}, {4: 1}, {512: 1})
    story.give_back(story.take(11.0), 11.0)
    [times] = story.tick(11.2, "times")
    assert (times["wait"], times["hold"], times["create"]) == ({1: 1}, {1: 1}, {})
    assert story.tick(13.0, "times") == []


def test_time_outs(story: Story) -> None:
    story.book.timeouts.append(Timeout(10.0, story.state, ROWS, None, waited=30.0, holding=(0, 0)))
    [line, timeout] = story.tick(10.1, "timeout", "line")[:2]
    assert (line["file"], line["line"], line["function"]) == ("/app/db.py", 12, "rows")
    assert timeout == {
        "k": "timeout",
        "t": 10.0,
        "pool": 1,
        "site": line["id"],
        "endpoint": None,
        "waited": 30.0,
        "holding": (0, 0),
        "kept": 0,
        "beside": False,
        "requested": False,
        "request": None,
    }
    assert story.row(10.2)["timeouts"] == 1


def test_a_dropped_pool_is_recorded_a_last_time(story: Story) -> None:
    story.tick(9.9)
    story.give_back(story.take(10.0), 10.5)
    story.pool = FakePool()  # the service dropped the first
    assert story.tick(10.6, "sample")[0]["pools"] == []
    times, site, sample, gone = story.tick(10.7, "site", "times", "sample", "gone")
    assert (times["hold"], site["checkouts"]) == ({1 << 19: 1}, 1)
    assert sample["pools"] == [[1, 2, 1, 30.0, 0, 0, 0, 0, 0, 0, 1, 1]]
    assert gone == {"k": "gone", "pool": 1}
    assert not story.book.lasted
    assert [record["k"] for record in story.tick(12.0)] == ["sample"]
    assert story.book.pools == []


def test_an_engine_per_request_does_not_flood_the_file(story: Story) -> None:
    pools = [FakePool() for _ in range(MAX_POOLS + 5)]
    for pool in pools:
        story.book.pool_state(pool)
    records = story.tick(10.0, "sample", "fault")
    assert len(records[0]["pools"]) == MAX_POOLS
    assert f"more than {MAX_POOLS} pools" in records[1]["error"]


def test_faults_are_counted(story: Story) -> None:
    def fail() -> None:
        story.book.fault("check-in", KeyError("x"))

    fail()
    assert story.tick(10.0, "fault")[0]["error"] == "KeyError: 'x'"
    fail()
    fail()
    assert story.tick(11.1, "fault")[0]["error"] == "KeyError: 'x' (3 times)"
    assert story.tick(12.2, "fault") == []


def test_a_child_forgets_its_parents_check_outs_and_keeps_its_pools() -> None:
    story = Story()
    story.give_back(story.take(10.0), 10.5)
    story.take(10.6)
    story.tick(10.7)
    story.book.start_over()
    story.tally = Tally(story.book, Classifier())
    row = story.row(11.0)
    assert (row["live"], row["checkouts"], row["checkins"]) == (0, 0, 0)


def test_the_same_pool_has_one_state() -> None:
    book, pool = Book(), FakePool()
    first = book.pool_state(pool)
    assert book.pool_state(pool) is first
    assert book.pools == [first]
