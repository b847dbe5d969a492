"""Some requests take a slot and then a connection, others a connection and then a slot."""

import asyncio
from contextlib import asynccontextmanager

from asgi import CURED, Session, application
from sqlalchemy import text

app = application()
SLOTS = asyncio.Semaphore(3)


@asynccontextmanager
async def slot():
    async with SLOTS:  # named
        yield


async def export():
    async with slot(), Session() as session:
        return await session.scalar(text("select 1 from pg_sleep(0.02)"))


async def preview():
    if CURED:
        return await export()
    async with Session() as session:
        await session.scalar(text("select 1 from pg_sleep(0.02)"))  # named
        async with slot():
            return await session.scalar(text("select 2 from pg_sleep(0.02)"))


@app.get("/item/{number}")
async def item(number: int):
    return {"row": await (export if number % 2 else preview)()}
