"""Locks a table as a migration does, and holds it."""

from typing import Final

import psycopg2
from psycopg2 import sql

from rushhour.errors import StackError

LOCK_TIMEOUT_S: Final = 5  # running queries have to end first


class TableLock:
    """An ACCESS EXCLUSIVE lock, held until `release`; a standby replays it, so its readers wait too."""

    def __init__(self, admin_dsn: str, server: str, table: str) -> None:
        """Raises StackError when the lock cannot be had."""
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
        """Closing ends the transaction; a server that is gone has let go already."""
        self._connection.close()
