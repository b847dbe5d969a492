"""Tasks without a request keep one session for as long as they poll somebody else."""

import asyncio

from asgi import CURED, AsyncSession, Session, application, session
from fastapi import Depends
from sqlalchemy import text

app = application()
RUNNING: set[asyncio.Task[None]] = set()


async def poll(number: int):
    async with Session() as own:
        await own.scalar(text("select 1"))  # named
        for _ in range(8):
            if CURED:
                await own.rollback()
            await asyncio.sleep(0.5)  # named
        await own.scalar(text("select 1"))


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    if number % 5 == 0:
        task = asyncio.create_task(poll(number))
        RUNNING.add(task)
        task.add_done_callback(RUNNING.discard)
    return {"row": await db.scalar(text("select 1"))}
