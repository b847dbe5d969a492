"""pg_try_advisory_xact_lock is asked again and again while another request has that lock."""

import asyncio

from asgi import CURED, AsyncSession, application, session
from fastapi import Depends
from sqlalchemy import text

app = application()
LOCK = text("select pg_try_advisory_xact_lock(7)")


async def rebuild(db: AsyncSession):
    await db.execute(text("select pg_sleep(0.3)"))


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    if CURED:
        return {"ok": await db.scalar(LOCK)}  # another request is at it: that will do
    while not await db.scalar(LOCK):  # named
        await asyncio.sleep(0.05)  # named
    await rebuild(db)
    await db.commit()
    return {"ok": True}
