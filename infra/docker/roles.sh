#!/usr/bin/env bash
# Runs once, on an empty cluster: the service's role and database, and the replica's role.
set -euo pipefail

psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 --username postgres --dbname postgres \
  -v role="$(</run/secrets/role)" -v replicator="$(</run/secrets/replicator)" <<'SQL'
CREATE ROLE referrals LOGIN PASSWORD :'role';
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replicator';
CREATE DATABASE referrals OWNER referrals;
SQL
