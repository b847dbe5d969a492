"""Threads that listen for notifications keep a connection of the pool each, for good."""

import select
import threading

from sqlalchemy import create_engine
from wsgi import CURED, URL, app, engine, text

CHANNELS = ("orders", "stock", "prices", "users", "audit")
apart = create_engine(URL)


def listen(channel):
    with (apart if CURED else engine).connect() as connection:  # named
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(f"listen {channel}"))
        raw = connection.connection.driver_connection
        while True:
            select.select([raw], [], [], 60)  # named
            raw.poll()


for name in CHANNELS:
    threading.Thread(target=listen, args=(name,), daemon=True).start()


@app.get("/item/<int:number>")
def item(number):
    with engine.connect() as connection:
        return {"row": connection.scalar(text("select 1"))}
