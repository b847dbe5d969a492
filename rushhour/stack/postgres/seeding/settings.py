"""How a server is set while it is seeded, whichever stack it belongs to."""

from typing import Final

# The data is thrown away unless the server ends cleanly, so nothing has to be safe before that.
SEEDING: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",  # COPY into a table made in the same transaction writes no WAL
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "wal_recycle": "off",  # finished WAL is removed, so that it is neither cloned nor kept for ever
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "maintenance_work_mem": "256MB",
    "log_min_duration_statement": "-1",
}
