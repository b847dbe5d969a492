"""A dependency closes its session behind a bare `yield`, which an exception of the endpoint never reaches."""

from asgi_threads import CURED, Session, SyncSession, app
from fastapi import Depends, HTTPException
from sqlalchemy import text


def session():
    opened = Session()
    if CURED:
        try:
            yield opened
        finally:
            opened.close()
    else:
        yield opened
        opened.close()


KEPT = []


class Unknown(HTTPException):
    def __init__(self, number: int, db: SyncSession) -> None:
        super().__init__(404, f"no item {number}")
        KEPT.append(
            self
        )  # an error reporter keeps what it was given, and with it the frames of the traceback


@app.get("/item/{number}")
def item(number: int, db: SyncSession = Depends(session)):
    row = db.scalar(text("select 1"))  # named
    if number % 10 == 0:
        raise Unknown(number, db)
    return {"row": row}
