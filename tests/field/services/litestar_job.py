"""Litestar: background tasks with a session wait for a thread; all threads wait for a connection."""

import os
import time

from litestar import Litestar, Response, get
from litestar.background_tasks import BackgroundTask
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

CURED = os.environ["CURED"] == "yes"
engine = create_engine(os.environ["DATABASE_URL"], pool_size=3, max_overflow=2, pool_timeout=2)


def archive(session, number):
    session.execute(text("select :number"), {"number": number})
    if CURED:
        session.close()
    time.sleep(0.05 if CURED else 0.8)  # named
    session.close()


@get("/item/{number:int}", sync_to_thread=True)
def item(number: int) -> Response[dict[str, int]]:
    session = Session(engine)
    row = session.execute(text("select 1")).scalar_one()  # named
    if CURED:
        session.close()
    return Response({"row": row}, background=BackgroundTask(archive, session, number))


@get("/health", sync_to_thread=False)
def health() -> dict[str, bool]:
    return {"ok": True}


app = Litestar([item, health])
