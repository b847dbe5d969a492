#!/usr/bin/env bash
# Starts the replica: a copy of the primary that streams through a slot of its own. It never becomes a primary:
# without a whole copy it does not start.
set -euo pipefail

passfile=/tmp/replicator.pgpass
(umask 077 && printf 'primary:5432:*:replicator:%s\n' "$(</run/secrets/replicator)" >"$passfile")
conninfo="host=primary port=5432 user=replicator passfile=$passfile application_name=replica connect_timeout=5"

make_slot="SELECT pg_create_physical_replication_slot('replica', true)
  WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'replica')"

copy_primary() {
  rm -rf "$PGDATA.incoming" && # what an interrupted copy left
    psql --quiet --no-psqlrc --no-password --tuples-only --command "$make_slot" "$conninfo dbname=postgres" &&
    pg_basebackup --dbname "$conninfo" --no-password --pgdata "$PGDATA.incoming" --slot replica \
      --wal-method stream --checkpoint fast --no-sync
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$(dirname "$PGDATA")"
  attempt=1
  until copy_primary; do
    if [ "$attempt" = 5 ]; then
      echo "replica: no copy of the primary after $attempt attempts" >&2
      exit 1
    fi
    attempt=$((attempt + 1))
    sleep 1
  done
  touch "$PGDATA.incoming/standby.signal"
  rm -rf "$PGDATA"
  mv --no-target-directory "$PGDATA.incoming" "$PGDATA"
fi
if [ ! -e "$PGDATA/standby.signal" ]; then
  echo "replica: $PGDATA is not a standby's; it would start as a second primary" >&2
  exit 1
fi
exec docker-entrypoint.sh "$@" -c primary_conninfo="$conninfo" -c primary_slot_name=replica
