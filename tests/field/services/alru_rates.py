"""Requests await one task of a cache (async-lru), which loads over a session of its own, in theirs."""

from asgi import CURED, AsyncSession, Session, application, session
from async_lru import alru_cache
from fastapi import Depends
from sqlalchemy import text

app = application()


@alru_cache(maxsize=64, ttl=0.4)
async def rates(currency: int):
    async with Session() as own:
        return await own.scalar(text("select 1 from pg_sleep(0.02)"))  # named


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    row = await db.scalar(text("select 2 from pg_sleep(0.03)"))  # named
    if CURED:
        await db.close()
    return {"row": row, "rate": await rates(number % 12)}
