"""A request waits for a notification (LISTEN) over the connection that it has taken from the pool."""

import select
import time

from wsgi import CURED, app, engine, text

WAIT_S = 0.8


@app.get("/item/<int:number>")
def item(number):
    if CURED:
        time.sleep(WAIT_S)  # another thread has a connection of its own that listens for all
        with engine.connect() as connection:
            return {"row": connection.scalar(text("select 1"))}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:  # named
        connection.execute(text("listen done"))
        raw = connection.connection.driver_connection
        select.select([raw], [], [], WAIT_S)  # named
        raw.poll()
        connection.execute(text("unlisten done"))
        return {"row": connection.scalar(text("select 1"))}
