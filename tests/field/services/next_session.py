"""`next()` on a generator of sessions: it closes the session at once, and the next query reopens it."""

from collections import deque

from asgi_threads import CURED, Session, app
from sqlalchemy import text

RECENT = deque(maxlen=50)  # companies with the session that loaded them, for lazy loading later


def sessions():
    opened = Session()
    try:
        yield opened
    finally:
        opened.close()


@app.get("/item/{number}")
def item(number: int):
    if CURED:
        with Session() as db:
            return {"row": db.scalar(text("select 1"))}
    db = next(sessions())
    RECENT.append(db)
    return {"row": db.scalar(text("select 1"))}  # named
