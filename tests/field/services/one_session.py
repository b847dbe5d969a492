"""Two tasks of a request use its session at once, which fails in the middle of taking a connection."""

import asyncio
from contextvars import ContextVar

from asgi import CURED, AsyncSession, Session, application
from sqlalchemy import text

app = application()
CURRENT: ContextVar[AsyncSession] = ContextVar("session")
KEPT: list[AsyncSession] = []


async def part(number: int):
    query = text("select cast(:number as int) from pg_sleep(0.02)")
    return await CURRENT.get().scalar(query, {"number": number})  # named


@app.get("/item/{number}")
async def item(number: int):
    opened = Session()
    KEPT.append(opened)
    CURRENT.set(opened)
    try:
        if CURED or number % 5:
            return [await part(number), await part(number + 1)]
        return await asyncio.gather(part(number), part(number + 1))
    finally:
        await opened.close()
