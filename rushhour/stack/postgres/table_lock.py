"""Locks a table as a migration does, and holds it."""

from typing import Final

import psycopg2
from psycopg2 import sql

from rushhour.errors import StackError

LOCK_TIMEOUT_S: Final = 5  # running queries have to end first


class TableLock:
    """An ACCESS EXCLUSIVE lock, held until `release`; a standby replays it, so its readers wait too."""

    def __init__(self, admin_dsn: str, server: str, table: str) -> None:
        """Take the lock. Raises StackError if that fails."""
        try:
            self._connection = psycopg2.connect(admin_dsn)
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{LOCK_TIMEOUT_S}s",))
                cursor.execute(
                    sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table))
                )
        except psycopg2.Error as error:
            said = " ".join(str(error).split())
            raise StackError(f"table {table} of the {server} could not be locked: {said}") from error

    def release(self) -> None:
        """Release the lock by closing the connection; a server that is gone has already released it."""
        self._connection.close()
