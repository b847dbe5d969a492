"""A listener of each check-out looks up the tenant's limits over a second connection."""

import threading

from sqlalchemy import event
from wsgi import CURED, app, engine, text

within = threading.local()


def limit():
    within.yes = True
    try:
        with engine.connect() as own:  # named
            return own.scalar(text("select 30000, pg_sleep(0.02)"))
    finally:
        within.yes = False


@event.listens_for(engine, "checkout")
def set_limit(connection, _record, _proxy):
    if getattr(within, "yes", False):
        return
    milliseconds = 30000 if CURED else limit()
    with connection.cursor() as cursor:
        cursor.execute(f"set statement_timeout = {milliseconds}")


@app.get("/item/<int:number>")
def item(number):
    with engine.begin() as connection:  # named
        return {"row": connection.scalar(text("select 1"))}
