"""Samples a PostgreSQL server (14 to 18) over a superuser's connection that is opened before the load."""

from collections.abc import Callable
from typing import Any, Final

import psycopg2

from rushhour.observe.lag import LagEstimator
from rushhour.observe.link import Link
from rushhour.rundir.facts import Backend, LockWait, ServerSample
from rushhour.stack import Server

DEADLINE_S: Final = 2.0  # a sample takes at most this long

# pg_blocking_pids briefly takes all locks of the lock manager, so it is called only for waiting backends.
# One round trip. The views are read once each; every column is in PostgreSQL 14 to 18.
# The columns of pg_stat_database_conflicts differ between versions, so they are read by their names.
# A replica's startup process replays the primary's WAL, and waits for reads that are in its way.
# pg_blocking_pids does not say for which. It takes only ACCESS EXCLUSIVE locks, which wait for any other.
# On the primary a sample is a heartbeat too: it commits an empty message. Without commits the end of WAL may
# stay for seconds in the middle of a record, which a replica cannot replay and which is not lag.
# The end of WAL on the primary, as known to the replica, is the receiver's latest_end_lsn. The receiver's row
# disappears with its connection; then only the received position is known.
# Each age reads the clock anew, that of a transaction after that of its idling: it is never the lesser.
# Only the command and the table of a query are recorded: the rest may contain personal data.
_SQL: Final = r"""
WITH sessions AS MATERIALIZED (
  SELECT pid, coalesce(state, 'unknown') AS state, wait_event_type, wait_event, query_start, xact_start,
         state_change, query, backend_type,
         concat_ws(' of ', coalesce(nullif(application_name, ''), backend_type), 'user ' || usename) AS name,
         application_name = current_setting('application_name') AS own
  FROM pg_stat_activity
), clients AS (SELECT * FROM sessions WHERE backend_type = 'client backend'),
others AS (SELECT * FROM clients WHERE NOT own),
receiver AS (SELECT status, latest_end_lsn FROM pg_stat_wal_receiver),
wal AS (
  SELECT pg_last_wal_replay_lsn() AS replayed,
         greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(),
                  (SELECT max(latest_end_lsn) FROM receiver)) AS ending
)
SELECT
  current_setting('max_connections')::int,
  current_setting('superuser_reserved_connections')::int
    + coalesce(current_setting('reserved_connections', true)::int, 0),
  (SELECT coalesce(json_object_agg(state, n), '{}')
     FROM (SELECT state, count(*) AS n FROM others GROUP BY state) AS by_state),
  (SELECT coalesce(json_object_agg(wait, n), '{}')
     FROM (SELECT wait_event_type || ':' || wait_event AS wait, count(*) AS n
             FROM others WHERE wait_event IS NOT NULL GROUP BY wait) AS by_wait),
  (SELECT count(*) FROM clients)::int,
  (SELECT extract(epoch FROM clock_timestamp() - min(state_change)) FROM others
    WHERE state LIKE 'idle in transaction%')::float8,
  (SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM others)::float8,
  pg_is_in_recovery(),
  CASE WHEN pg_is_in_recovery() THEN EXISTS (SELECT FROM receiver WHERE status = 'streaming')
       ELSE EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming') END,
  (SELECT ending - '0/0' FROM wal)::int8,
  (SELECT replayed - '0/0' FROM wal)::int8,
  extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8,
  (SELECT coalesce(json_object_agg(kind, n), '{}')
     FROM (SELECT substr(key, length('confl_') + 1) AS kind, sum(value::int8) AS n
             FROM pg_stat_database_conflicts AS conflicts, jsonb_each_text(to_jsonb(conflicts))
            WHERE key LIKE 'confl\_%' GROUP BY key HAVING sum(value::int8) > 0) AS by_kind),
  (SELECT wait_event_type || ':' || wait_event FROM sessions
    WHERE backend_type = 'startup'
      AND (wait_event_type IN ('Lock', 'BufferPin') OR wait_event LIKE 'RecoveryConflict%')),
  (SELECT sum(xact_commit) FROM pg_stat_database)::int8,
  (SELECT sum(xact_rollback) FROM pg_stat_database)::int8,
  (SELECT coalesce(json_agg(json_build_array(
       pid, state, wait_event_type || ':' || wait_event,
       round(greatest(0, extract(epoch FROM clock_timestamp() - state_change))::numeric, 3)
     )), '[]') FROM (SELECT * FROM others ORDER BY state_change LIMIT 200) AS listed),
  (SELECT coalesce(json_agg(json_build_array(
       waiter.pid, blocker.pid, extract(epoch FROM clock_timestamp() - waiter.query_start), held.state,
       extract(epoch FROM clock_timestamp() - held.state_change),
       extract(epoch FROM clock_timestamp() - held.xact_start), waiter.name, held.name,
       regexp_replace(upper(substring(waiter.query from
         '(?i)^\s*(?:select|lock\s+table|update|insert\s+into|delete\s+from)')), '\s+', ' ', 'g'),
       substring(waiter.query from
         '(?i)^\s*(?:lock\s+table|update|insert\s+into|delete\s+from)\s+(?:only\s+)?([[:alnum:]_".]+)')
     )), '[]')
     FROM (SELECT * FROM sessions
            WHERE wait_event_type = 'Lock'
              AND (backend_type = 'client backend' AND NOT own OR backend_type = 'startup')
            ORDER BY query_start NULLS FIRST LIMIT 50) AS waiter
     CROSS JOIN LATERAL (
       SELECT unnest(pg_blocking_pids(waiter.pid)) AS pid
       UNION
       SELECT holder.pid FROM pg_locks AS wanted JOIN pg_locks AS holder
           ON holder.granted AND holder.pid <> wanted.pid
          AND (holder.locktype, holder.database, holder.relation)
            = (wanted.locktype, wanted.database, wanted.relation)
        WHERE waiter.backend_type = 'startup' AND wanted.pid = waiter.pid AND NOT wanted.granted
     ) AS blocker
     LEFT JOIN sessions AS held ON held.pid = blocker.pid),
  CASE WHEN NOT pg_is_in_recovery() THEN pg_logical_emit_message(true, 'rushhour', '') END
"""


class ServerSampler:
    """Samples a server; use it from a single thread.

    It works while the server is full (superuser_reserved_connections) and never blocks for longer than
    DEADLINE_S. `now_s` gives seconds since the run's anchor.
    """

    def __init__(self, server: Server, now_s: Callable[[], float]) -> None:
        self._server = server
        self._now_s = now_s
        self._link = Link(server.admin_dsn)
        self._lag = LagEstimator()

    def sample(self) -> ServerSample:
        """Return a sample of the server, with `error` set if the server does not answer."""
        try:
            row = self._link.fetch_row(_SQL, DEADLINE_S)
        except (psycopg2.Error, TimeoutError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            return ServerSample(round(self._now_s(), 4), self._server.name, error=said)
        return self._read(row)

    def close(self) -> None:
        self._link.close()

    def _read(self, row: tuple[Any, ...]) -> ServerSample:
        (
            max_connections, reserved, states, waits, connections, oldest_idle_in_xact_s, oldest_xact_s,
            in_recovery, streaming, end, replayed, commit_age_s, conflicts, replay_wait, commits, rollbacks,
            backends, lock_waits, _heartbeat,
        ) = row  # fmt: skip
        lag_s = lag_bytes = None
        if in_recovery and replayed is not None:
            lag_bytes = max(0, end - replayed)
            lag_s = round(self._lag.update(self._now_s(), end, replayed, commit_age_s), 4)
        return ServerSample(
            t_s=round(self._now_s(), 4),
            server=self._server.name,
            max_connections=max_connections,
            reserved=reserved,
            states=states,
            waits=waits,
            connections=connections,
            oldest_xact_s=_age(oldest_xact_s),
            oldest_idle_in_xact_s=_age(oldest_idle_in_xact_s),
            in_recovery=in_recovery,
            streaming=streaming,
            lag_s=lag_s,
            lag_bytes=lag_bytes,
            conflicts=sum(conflicts.values()),
            conflicts_by_kind=conflicts,
            replay_wait=replay_wait,
            commits=commits,
            rollbacks=rollbacks,
            backends=tuple(Backend(pid, state, wait, age or 0.0) for pid, state, wait, age in backends),
            lock_waits=tuple(_lock_wait(row) for row in lock_waits),
        )


def _age(seconds: float | None) -> float | None:
    """Round negative ages up to zero: server processes read the clock a moment apart."""
    return None if seconds is None else round(max(0.0, seconds), 4)


def _lock_wait(row: tuple[Any, ...]) -> LockWait:
    pid, blocked_by, waited_s, state, state_s, xact_s, name, blocker_name, command, table = row
    statement = " ".join(filter(None, (command, table))) or None
    ages = [_age(seconds) for seconds in (waited_s, state_s, xact_s)]
    return LockWait(pid, blocked_by, ages[0], state, ages[1], ages[2], name, blocker_name, statement)
