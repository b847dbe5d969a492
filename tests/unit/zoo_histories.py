"""A history for each cause, told by hand. The figures are those of real runs."""

import dataclasses
from collections.abc import Callable
from typing import Any

from rushhour.diagnosis import Diagnosis, diagnose
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories
from tests.unit.histories import CAPACITY, LIST, PID, ROUTE, SITE, STARTED_S, Level, Story

WAIT_SITE = f.CallSite("app/rewards.py", 12, "reward_points")
LOAD_S = 20
LOAD = {"users": 80, "duration": float(LOAD_S), "warm_up": 0.0}


def diagnosed(history: History) -> Diagnosis:
    return diagnose(history, measure(histories.scenario(load=LOAD), history))


def full_pool(story: Story, timeouts: int = 40, **timeout: Any) -> None:
    """The replica's pool is full from 2 s on, with a queue, and drains with the load."""
    late_s = [4 + (LOAD_S - 5) * number / timeouts for number in range(timeouts)]
    for late in late_s:
        story.add(
            "pool_timeouts", f.PoolTimeout(STARTED_S + late, PID, "replica", SITE, ROUTE, 1.0, **timeout)
        )
        story.requests(LIST, 1, 1_010, f.Outcome.QUEUEPOOL_TIMEOUT, range(int(late), int(late) + 1))

    def level(t: float) -> Level:
        late = sum(late <= t for late in late_s)
        if not 2 <= t < LOAD_S:
            return Level(0, timeouts=late, checkouts=int(t * 5))
        return Level(CAPACITY, waiting=18, timeouts=late, checkouts=int(t * 5))

    story.pool("replica", level)


def doing(story: Story, **looks: Any) -> None:
    """What the holders were seen at in every second of the load; `line` in those outside of the driver."""
    counts: dict[str, Any] = {"driver": 0, "queue": 0, "elsewhere": 0, "streaming": 0} | looks
    outside = counts["queue"] + counts["elsewhere"] + counts["streaming"]
    lines = ((WAIT_SITE, outside),) if outside else ()
    for second in range(2, LOAD_S):
        story.add("doing", f.PoolDoing(STARTED_S + second, PID, "replica", **counts, lines=lines))


def backends(
    story: Story, state: str, age: Callable[[int], float], count: int = 6, spread: float = 0.0
) -> None:
    """`count` backends in this state in every second of the trouble, and none of them after the load."""
    for second in range(LOAD_S + 2):
        inside = 2 <= second < LOAD_S
        listed = tuple(
            f.Backend(9000 + number, state, None, max(0.0, age(second) - number * spread))
            for number in range(count if inside else 0)
        )
        states = {state: count} if inside else {"idle": count}
        story.add(
            "servers",
            f.ServerSample(STARTED_S + second + 0.5, "replica", states=states, backends=listed, lag_s=0.0),
        )


def story() -> Story:
    made = Story(duration_s=LOAD_S, users=80)
    made.server("primary", {"idle": 3}, range(LOAD_S + 2))
    return made


def nested() -> History:
    made = story()
    full_pool(made, holding=1)
    doing(made, queue=20)
    backends(made, "idle in transaction", lambda _: 0.8)
    return made.history()


def external() -> History:
    made = story()
    full_pool(made)
    made.requests(LIST, 3, 1_250)
    doing(made, elsewhere=60)
    backends(made, "idle in transaction", lambda _: 0.9, spread=0.2)
    for second in range(3, 18):
        for number in range(6):
            made.checkout(
                6 * second + number,
                second - 0.45 + 0.2 * number,  # right before its only query
                f"t{number}",
                server_pid=9000 + number,
                request_ended_s=None,
                returned_s=STARTED_S + second + 0.52,
            )
    return made.history()


NOTE_SITE = f.CallSite("app/visits.py", 7, "note_visit")
NAME = "shop of user app"


def at_locks(made: Story, wait_of: Callable[[int], tuple[f.LockWait, ...]]) -> None:
    """Six backends at work in every second of the trouble, some of them in a wait for a lock."""
    for second in range(LOAD_S + 2):
        waits = wait_of(second) if 2 <= second < LOAD_S else ()
        waiting = {one.pid for one in waits}
        listed = tuple(
            f.Backend(pid, "active", "Lock:transactionid", 1.0)
            if pid in waiting
            else f.Backend(pid, "idle in transaction", "Client:ClientRead", 0.4)
            for pid in (range(9000, 9006) if waits else ())
        )
        states = {"active": len(waiting), "idle in transaction": 6 - len(waiting)} if waits else {"idle": 6}
        made.add(
            "servers",
            f.ServerSample(
                STARTED_S + second + 0.5,
                "replica",
                states=states,
                waits={"Lock:transactionid": len(waiting)} if waits else {},
                backends=listed,
                lock_waits=waits,
                lag_s=0.0,
            ),
        )


def waits_for(pid: int, blocked_by: int, blocker: str = NAME) -> f.LockWait:
    return f.LockWait(pid, blocked_by, 1.0, "idle in transaction", 0.4, 1.4, NAME, blocker, "UPDATE visits")


def full_of_waits(made: Story, out: int = 6) -> None:
    full_pool(made)
    made.facts["pools"] = [
        dataclasses.replace(one, size=out, max_overflow=0, checked_out=min(out, one.checked_out), live=0)
        for one in made.facts["pools"]
    ]


def hot_row(ends: tuple[int, ...] = (9000, 9003, 9005), **changes: Any) -> History:
    """All update one row first; each in turn holds its lock while it asks a partner."""
    made = story()
    full_of_waits(made)
    doing(made, driver=50, elsewhere=10)

    def queue(second: int) -> tuple[f.LockWait, ...]:
        end = ends[second % len(ends)]
        first, *rest = [pid for pid in range(9000, 9006) if pid != end]
        return (waits_for(first, end), *(waits_for(pid, first) for pid in rest))

    at_locks(made, queue)
    for number in range(6):
        plain: dict[str, Any] = {
            "request_ended_s": None,
            "returned_s": STARTED_S + LOAD_S - 1,
            "site": NOTE_SITE,
        }
        made.checkout(number, 1.5, f"t{number}", stands_at=WAIT_SITE, owner=number, **plain | changes)
    return made.history()


def behind_a_migration(state: str = "idle in transaction", name: str = "alembic of user app") -> History:
    """A change of the schema waits for a read of the service, and all others wait for the change."""
    made = story()
    full_of_waits(made)
    doing(made, driver=50, elsewhere=10)
    change = dataclasses.replace(waits_for(77, 9000), name=name, blocker_state=state)
    others = tuple(waits_for(pid, 77, name) for pid in range(9001, 9006))
    at_locks(made, lambda _: (change, *others))
    for number in range(6):
        back_s = STARTED_S + LOAD_S - 1
        made.checkout(number, 1.5, f"t{number}", owner=number, request_ended_s=None, returned_s=back_s)
    return made.history()


def deadlocked() -> History:
    """Two transactions wait for each other's rows, and all others for one of them."""
    made = story()
    full_of_waits(made)
    doing(made, driver=60)

    def circle(_: int) -> tuple[f.LockWait, ...]:
        waits = [(9000, 9001), (9001, 9000), *((pid, 9000) for pid in range(9002, 9006))]
        return tuple(
            dataclasses.replace(waits_for(pid, other), blocker_state="active") for pid, other in waits
        )

    at_locks(made, circle)
    for number in range(6):
        back_s = STARTED_S + LOAD_S - 1
        made.checkout(
            number, 1.5, f"t{number}", site=NOTE_SITE, owner=number, request_ended_s=None, returned_s=back_s
        )
    return made.history()


def own_second_session() -> History:
    """Each of three requests updates a row, and once more with a second session: it waits for itself."""
    made = story()
    full_of_waits(made)
    doing(made, driver=30, elsewhere=30)
    at_locks(made, lambda _: tuple(waits_for(9001 + 2 * number, 9000 + 2 * number) for number in range(3)))
    for number in range(6):
        site = WAIT_SITE if number % 2 else NOTE_SITE
        stack = (f"{site.file}:{site.line} {site.function}",)
        back_s = STARTED_S + LOAD_S - 1
        made.checkout(
            number,
            1.5,
            "t",
            site=site,
            stack=stack,
            owner=number // 2,
            request_ended_s=None,
            returned_s=back_s,
        )
    return made.history()


def locked_by(name: str) -> History:
    """Six updates wait for one transaction of somebody else's session, the last five behind the first."""
    made = story()
    full_of_waits(made)
    doing(made, driver=60)
    first = waits_for(9000, 77, name)
    at_locks(made, lambda _: (first, *(waits_for(pid, 9000) for pid in range(9001, 9006))))
    for number in range(6):
        back_s = STARTED_S + LOAD_S - 1
        made.checkout(number, 1.5, f"t{number}", owner=number, request_ended_s=None, returned_s=back_s)
    return made.history()


def stream() -> History:
    made = story()
    full_pool(made)
    doing(made, streaming=60)
    backends(made, "idle in transaction", lambda second: second - 1.5)
    made.checkout(1, 2.0, "t1", streams=True, request_ended_s=None, returned_s=STARTED_S + LOAD_S)
    return made.history()


def saturated() -> History:
    made = story()
    full_pool(made)
    made.requests(LIST, 3, 1_250)
    doing(made, driver=60)
    backends(made, "active", lambda _: 0.3, count=CAPACITY)
    return made.history()


def black_hole() -> History:
    made = story()
    full_pool(made)
    doing(made, driver=60)
    for second in range(LOAD_S + 2):
        resting = tuple(f.Backend(9000 + number, "idle", None, 3.0) for number in range(6))
        made.add(
            "servers",
            f.ServerSample(
                STARTED_S + second + 0.5, "replica", states={"idle": 6}, backends=resting, lag_s=0.0
            ),
        )
    for number in range(6):
        made.checkout(
            number, 3.0, f"t{number}", in_driver=90, request_ended_s=None, returned_s=STARTED_S + 12
        )
    return made.history()


def logged(kind: str, times: int = 20) -> History:
    made = story()
    made.pool("replica", lambda _: Level(2, checkouts=50))
    made.requests(LIST, 5, 20)
    made.requests(LIST, 1, 20, f.Outcome.HTTP_5XX)
    backends(made, "idle", lambda _: 1.0)
    for number in range(times):
        made.event(
            2 + number / 2, f.LOG_ERRORS, source="service", queuepool_timeouts=0, errors=1, kinds={kind: 1}
        )
    return made.history()


def refused() -> History:
    history = logged("server_limit")
    return dataclasses.replace(
        history,
        servers=tuple(
            dataclasses.replace(one, connections=16, max_connections=20) for one in history.servers
        ),
    )


def forked(processes: int = 2) -> History:
    history = logged("shared_connection")
    inherited = tuple(
        f.Inherited(STARTED_S + 3, PID + child, "replica", (9001, 9002), uses=20)
        for child in range(processes)
    )
    return dataclasses.replace(history, inherited=inherited)


def blocked(share: float = 0.8) -> History:
    made = story()
    made.pool("replica", lambda _: Level(1, checkouts=50))
    made.requests(LIST, 5, 1_900)
    for second in range(LOAD_S):
        made.add("loops", f.LoopSample(STARTED_S + second, PID, 10, int(10 * share), WAIT_SITE))
    return made.history()
