"""A transaction updates a row that all share, and then waits for something else before it commits."""

import asyncio

from asgi import CURED, AsyncSession, application, session
from fastapi import Depends
from sqlalchemy import text

app = application()


async def ensure_workspace():
    await asyncio.sleep(0.4)  # named


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    if CURED:
        await ensure_workspace()
    await db.execute(text("update counters set value = value + 1 where id = 0"))  # named
    if not CURED:
        await ensure_workspace()
    await db.commit()
    return {"ok": True}
