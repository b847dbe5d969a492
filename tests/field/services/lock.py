"""Requests wait for a lock of the process while their transaction is open."""

import asyncio

from asgi import CURED, AsyncSession, application, session
from fastapi import Depends
from sqlalchemy import text

app = application()
WORKSPACE = asyncio.Lock()


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    row = await db.scalar(text("select 1"))
    if CURED:
        await db.rollback()
    async with WORKSPACE:  # named
        await asyncio.sleep(0.01 if CURED else 0.15)
    return {"row": row}
