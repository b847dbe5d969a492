"""A replica ends the reads that are in the way of the primary's WAL, or waits for them."""

import dataclasses

import pytest

from rushhour.diagnosis import Diagnosis, diagnose
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories as h
from tests.unit import zoo_histories as zoo
from tests.unit.test_diagnosis_services import said_against


def with_conflicts(history: History, **kinds: int) -> History:
    """One more of each kind in every second, up to these counts, over a hundred from before the load."""
    started_s = min(sample.t_s for sample in history.servers)

    def counted(sample: f.ServerSample) -> f.ServerSample:
        if sample.server != "replica":
            return sample
        found = {
            kind: 100 + min(count, max(0, int(sample.t_s - started_s) - 2)) for kind, count in kinds.items()
        }
        return dataclasses.replace(sample, conflicts=sum(found.values()), conflicts_by_kind=found)

    return dataclasses.replace(history, servers=tuple(map(counted, history.servers)))


def logged(history: History, kind: str, errors: int) -> History:
    detail = {"source": "service", "queuepool_timeouts": 0, "errors": errors, "kinds": {kind: errors}}
    event = f.Event(h.STARTED_S + 8, f.LOG_ERRORS, detail)
    return dataclasses.replace(history, events=(*history.events, event))


def replay_waits(history: History, wait: str, *lock_waits: f.LockWait) -> History:
    """Replay stands still from the third second of the load to its end."""

    def standing(sample: f.ServerSample) -> f.ServerSample:
        if sample.server != "replica" or not 2 <= sample.t_s - h.STARTED_S < zoo.LOAD_S:
            return sample
        return dataclasses.replace(sample, replay_wait=wait, lock_waits=(*sample.lock_waits, *lock_waits))

    return dataclasses.replace(history, servers=tuple(map(standing, history.servers)))


def diagnosed(history: History) -> Diagnosis:
    return diagnose(history, measure(h.scenario(), history))


def all_said(found: Diagnosis) -> str:
    evidence = (f"{item.signal}: {item.value} {item.meaning}" for item in found.evidence)
    return "\n".join((found.summary, *found.amplifiers, *evidence))


def test_reads_that_a_replica_ended_are_said_with_their_kinds_and_a_fix() -> None:
    found = diagnosed(with_conflicts(h.healthy(), snapshot=5, lock=1))
    assert (found.cause, found.confidence) == ("none", "likely")
    says = "the replica ended 6 reads that were in the way of the primary's WAL (recovery conflicts: lock 1, "
    assert f"{says}snapshot 5)" in all_said(found)
    assert "40001" in found.fix


@pytest.mark.parametrize(
    ("kinds", "said"),
    [({"snapshot": 1}, ""), ({"snapshot": 3, "lock": 1}, "ended 2 reads")],
)
def test_a_read_of_the_sampler_that_replay_ended_is_none_of_the_service(
    kinds: dict[str, int], said: str
) -> None:
    history = with_conflicts(h.healthy(), **kinds)
    error = "canceling statement due to conflict with recovery DETAIL: ..."
    ninth = [sample for sample in history.servers if sample.server == "replica"][8]
    lost = dataclasses.replace(ninth, error=error, conflicts_by_kind={})
    servers = tuple(lost if sample is ninth else sample for sample in history.servers)
    found = all_said(diagnosed(dataclasses.replace(history, servers=servers)))
    assert said in found
    assert bool(said) == ("in the way of the primary's WAL" in found)


def test_conflicts_from_before_the_load_are_not_of_the_run() -> None:
    found = diagnosed(with_conflicts(h.healthy(), snapshot=0))
    assert (found.cause, found.confidence, found.fix) == ("none", "certain", "")


def test_a_server_that_began_to_count_again_has_no_fewer_conflicts_than_none() -> None:
    history = with_conflicts(h.healthy(), snapshot=3)
    last = max(sample.t_s for sample in history.servers)
    again = tuple(
        dataclasses.replace(sample, conflicts_by_kind={"snapshot": 2}) if sample.t_s == last else sample
        for sample in history.servers
    )
    assert "ended 3 reads" in all_said(diagnosed(dataclasses.replace(history, servers=again)))


def test_a_cause_keeps_its_name_beside_conflicts() -> None:
    found = zoo.diagnosed(with_conflicts(zoo.external(), bufferpin=4))
    assert found.cause == "held-across-external-wait"
    assert "the replica ended 4 reads" in all_said(found)


@pytest.mark.parametrize(
    ("conflicts", "told", "signs"),
    [(0, 0, True), (3, 0, False), (3, 3, True), (1, 0, False)],
    ids=["a server that went away", "ended sessions", "the log tells them apart", "one of three"],
)
def test_sessions_that_a_replica_ended_are_no_sign_of_a_server_that_went_away(
    conflicts: int, told: int, signs: bool
) -> None:
    """An idle session that was ended reads no more than that the server closed its connection."""
    history = logged(
        with_conflicts(zoo.locked_by("psql of user admin"), snapshot=conflicts), "backend_lost", 3
    )
    found = zoo.diagnosed(logged(history, "recovery_conflict", told))
    assert found.cause == "slow-or-dead-backend"
    assert ("the service logged 3 lost or refused connections" in found.summary) is signs


def test_reads_behind_replay_wait_for_the_read_that_replay_waits_for() -> None:
    history = zoo.behind_a_migration(name=f.REPLAY)
    found = zoo.diagnosed(history)
    assert (found.cause, found.confidence) == ("own-lock-chain", "likely")
    [says] = said_against(history, found.cause)
    assert "behind the replay of the primary's WAL (startup, pid 77), which waits for the service" in says
    assert "Up to 5 connections at once" in found.summary  # replay itself is none


def test_replay_that_waits_alone_is_no_chain_of_the_service() -> None:
    """A holder waits for a partner, in a transaction that has read a table which the primary alters."""
    change = dataclasses.replace(zoo.waits_for(77, 9000), name=f.REPLAY)
    history = replay_waits(zoo.external(), "Lock:relation", change)
    found = zoo.diagnosed(history)
    assert (found.cause, found.confidence) == ("held-across-external-wait", "certain")
    assert "own-lock-chain" not in all_said(found)
    assert "not replay the primary's WAL for 17 s: it waited for reads (Lock:relation), and" in all_said(
        found
    )


def test_a_replica_that_falls_behind_its_reads_says_so_though_nothing_else_is_wrong() -> None:
    found = diagnosed(replay_waits(h.healthy(), "IPC:RecoveryConflictSnapshot"))
    assert (found.cause, found.confidence) == ("none", "certain")
    assert "it waited for reads (IPC:RecoveryConflictSnapshot), and fell behind" in all_said(found)


def test_a_lock_that_replay_has_is_of_a_session_of_the_primary() -> None:
    found = zoo.diagnosed(zoo.locked_by(f.REPLAY))
    assert found.cause == "slow-or-dead-backend"
    says = "for the transaction of a session of the primary, which this server replays (startup, pid 77)"
    assert says in found.summary
