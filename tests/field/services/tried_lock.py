"""A lock that is tried again and again, as one in Redis or in a file; who has it opens a second session."""

import threading
import time

from wsgi import CURED, Scoped, Session, app, read, text

KEYS = {}
GUARD = threading.Lock()


class KeyLock:
    """Set if it is not there; else try again later."""

    def __init__(self, key):
        self.key = key

    def __enter__(self):
        while not self.is_set():
            time.sleep(0.03)

    def __exit__(self, *_):
        del KEYS[self.key]

    def is_set(self):
        with GUARD:
            return KEYS.setdefault(self.key, self) is self


def stock():
    with Session() as db:
        return db.scalar(text("select 2"))  # named


@app.get("/item/<int:number>")
def item(number):
    row = Scoped.scalar(text("select 1"))  # named
    if CURED:
        Scoped.remove()
    with KeyLock("stock"):
        return {"row": row, "stock": stock()}


__all__ = ["app", "read"]
