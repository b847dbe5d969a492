"""FastAPI's forty threads wait for a connection; those who have one wait for a thread to go on."""

from asgi_threads import CURED, Session, SyncSession, app
from fastapi import Depends
from sqlalchemy import text


def session():
    with Session() as opened:
        yield opened


def user(db: SyncSession = Depends(session)):
    found = db.scalar(text("select 1, pg_sleep(0.02)"))  # named
    if CURED:
        db.close()
    return found


@app.get("/item/{number}")
def item(number: int, who: int = Depends(user), db: SyncSession = Depends(session)):
    try:
        return {"row": db.scalar(text("select 2, pg_sleep(0.02)")), "who": who}
    finally:
        if CURED:
            db.close()
