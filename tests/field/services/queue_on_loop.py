"""A coroutine waits in the queue synchronously: the loop stands still, and so do the holders."""

import asyncio

from asgi_threads import CURED, Session, app
from sqlalchemy import text


async def report(number: int):
    """Tells the client how far the work is."""
    await asyncio.sleep(0.05)


@app.get("/item/{number}")
async def item(number: int):
    with Session() as db:
        row = db.scalar(text("select 1"))  # named
        if CURED:
            db.rollback()
        await report(number)
        return {"row": row}
