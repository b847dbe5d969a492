"""A cache loads under a lock, with a session of its own, and requests come to it with theirs open."""

import threading
import time

from wsgi import CURED, Scoped, Session, app, text

LOADING = threading.Lock()


def rates():
    with LOADING, Session() as db:  # named
        rate = db.scalar(text("select 2"))  # named
        time.sleep(0.01)
        return rate


@app.get("/item/<int:number>")
def item(number):
    row = Scoped.scalar(text("select 1"))
    if CURED:
        Scoped.remove()
    return {"row": row, "rate": rates()}
