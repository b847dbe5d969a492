"""A request waits for a greenlet that it has spawned, which opens a session of its own (gevent)."""

import gevent
from wsgi import CURED, Scoped, Session, app, read, text


def prices():
    with Session() as db:
        return db.scalar(text("select 2"))  # named


@app.get("/item/<int:number>")
def item(number):
    row = Scoped.scalar(text("select 1"))  # named
    if CURED:
        Scoped.remove()
    gevent.sleep(0.05)
    return {"row": row, "price": gevent.spawn(prices).get()}


__all__ = ["app", "read"]
