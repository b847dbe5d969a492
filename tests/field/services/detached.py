"""Requests start a task that nobody waits for, and that asks a partner while its own session is open."""

import asyncio

from asgi import CURED, Session, application
from sqlalchemy import text

app = application()
RUNNING = set()


async def notify(number: int):
    async with Session() as db:
        await db.scalar(text("select 1"))  # named
        if CURED:
            await db.close()
        await asyncio.sleep(1.5)  # named


@app.get("/item/{number}")
async def item(number: int):
    task = asyncio.create_task(notify(number))
    RUNNING.add(task)
    task.add_done_callback(RUNNING.discard)
    async with Session() as db:
        return {"row": await db.scalar(text("select 2"))}
