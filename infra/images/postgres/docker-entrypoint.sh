#!/usr/bin/env bash
# Entry point of the stand-in for the official postgres image: the same variables and the same order of things.
# POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, POSTGRES_INITDB_ARGS (each also as NAME_FILE),
# POSTGRES_HOST_AUTH_METHOD, PGDATA and /docker-entrypoint-initdb.d are honoured.
set -euo pipefail

# Take NAME from the file that NAME_FILE names, or leave it, or give it a default.
from_file() {
  local name=$1 file_name="$1_FILE"
  if [ -n "${!name:-}" ] && [ -n "${!file_name:-}" ]; then
    echo "error: $name and $file_name are both set" >&2
    exit 1
  fi
  if [ -n "${!file_name:-}" ]; then
    printf -v "$name" '%s' "$(<"${!file_name}")"
    unset "$file_name"
  fi
  export "$name=${!name:-${2:-}}"
}

make_cluster() {
  local auth=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$auth" != trust ]; then
    echo "error: no superuser password; set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" >&2
    exit 1
  fi
  # Local connections are trusted: init scripts come without a password.
  eval "initdb --username=\"\$POSTGRES_USER\" --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") \
    --auth-local=trust --auth-host=\"\$auth\" $POSTGRES_INITDB_ARGS"
  printf '\nhost all all all %s\n' "$auth" >>"$PGDATA/pg_hba.conf"
}

run_sql() { psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password "$@"; }

run_init_scripts() {
  local script
  for script in /docker-entrypoint-initdb.d/*; do
    case "$script" in
      *.sh) if [ -x "$script" ]; then echo "running $script"; "$script"; else echo "sourcing $script"; . "$script"; fi ;;
      *.sql) echo "running $script"; run_sql --dbname "$POSTGRES_DB" -f "$script" ;;
      *.sql.gz) echo "running $script"; gunzip -c "$script" | run_sql --dbname "$POSTGRES_DB" ;;
      '/docker-entrypoint-initdb.d/*') ;;
      *) echo "ignoring $script" ;;
    esac
  done
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
if [ "$1" = postgres ]; then
  from_file POSTGRES_PASSWORD
  from_file POSTGRES_USER postgres
  from_file POSTGRES_DB "$POSTGRES_USER"
  from_file POSTGRES_INITDB_ARGS
  mkdir -p -m 700 "$PGDATA"
  if [ "$(id -u)" = 0 ]; then
    find "$PGDATA" ! -user postgres -exec chown postgres {} +
    exec gosu postgres "$0" "$@"
  fi
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    make_cluster
    # On the socket alone: nobody must take a server that is still being filled for a ready one.
    pg_ctl start --wait --pgdata "$PGDATA" \
      --options "$(printf '%q ' "${@:2}" -c listen_addresses= -p "${PGPORT:-5432}")"
    if [ "$POSTGRES_DB" != postgres ]; then
      run_sql --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
    run_init_scripts
    pg_ctl stop --wait --mode fast --pgdata "$PGDATA"
    unset POSTGRES_PASSWORD
    echo "PostgreSQL init process complete; ready for start up."
  fi
fi
exec "$@"
