"""Server-sent events with a synchronous session, which the check of the event keeps for the whole stream."""

import asyncio

from asgi_threads import CURED, Session, SyncSession, app
from fastapi import Depends
from sqlalchemy import text
from sse_starlette.sse import EventSourceResponse


def session():
    with Session() as opened:
        yield opened


def known(number: int, db: SyncSession = Depends(session)):
    row = db.scalar(text("select 1"))  # named
    if CURED:
        db.close()
    return row


@app.get("/item/{number}")
async def item(number: int, row: int = Depends(known)):
    async def events():
        for part in range(5):
            await asyncio.sleep(0.3)
            yield {"data": str(part)}

    return EventSourceResponse(events())
