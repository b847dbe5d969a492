#!/usr/bin/env bash
# Healthy means: it replays the primary's WAL, and receives it as a stream. Its output is the reason when not.
set -euo pipefail

seen=$(psql --no-psqlrc --tuples-only --no-align --username postgres --dbname postgres --command "
  SELECT 'in recovery: ' || pg_is_in_recovery()
    || ', WAL receiver: ' || coalesce((SELECT status FROM pg_stat_wal_receiver), 'none')" 2>&1) || true
echo "$seen"
[ "$seen" = "in recovery: true, WAL receiver: streaming" ]
