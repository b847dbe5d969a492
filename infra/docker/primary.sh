#!/usr/bin/env bash
# Starts the primary: on the kept, seeded data when there is some, else on an empty cluster with roles and database.
set -euo pipefail

template=/rushhour/template/data.tar
if [ ! -s "$PGDATA/PG_VERSION" ] && [ -s "$template" ]; then
  echo "primary: unpacking the seeded data"
  rm -rf "$PGDATA.incoming"
  mkdir -p -m 700 "$PGDATA.incoming"
  tar --extract --file "$template" --directory "$PGDATA.incoming" --strip-components=1
  # The data was kept, its passwords were not: they are new for every run. One statement is one line here.
  postgres --single -c log_min_messages=warning -D "$PGDATA.incoming" postgres >/dev/null <<SQL
ALTER ROLE postgres PASSWORD '$(</run/secrets/superuser)'
ALTER ROLE replicator PASSWORD '$(</run/secrets/replicator)'
ALTER ROLE referrals PASSWORD '$(</run/secrets/role)'
SQL
  mv --no-target-directory "$PGDATA.incoming" "$PGDATA"
fi
exec docker-entrypoint.sh "$@"
