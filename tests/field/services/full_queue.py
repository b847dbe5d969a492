"""Requests fill a short queue while their session is open; its consumer opens a session for each event."""

import queue
import threading

from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from wsgi import CURED, Scoped, Session, app, read, text

EVENTS = queue.Queue(maxsize=2)


def store(event):
    with Session() as db:
        db.execute(text("select :event"), {"event": event})  # named


def consume():
    while True:
        event = EVENTS.get()
        try:
            store(event)
        except PoolTimeoutError:
            app.logger.warning("event %s was lost", event)


threading.Thread(target=consume, daemon=True).start()


@app.get("/item/<int:number>")
def item(number):
    row = Scoped.scalar(text("select 1"))  # named
    if CURED:
        Scoped.remove()
    for _ in range(3):
        EVENTS.put(number)
    return {"row": row}


__all__ = ["app", "read"]
