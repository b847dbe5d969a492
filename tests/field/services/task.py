"""A request starts a task that ends without closing its session, which a registry keeps."""

import asyncio

from asgi import CURED, AsyncSession, Session, application, session
from fastapi import Depends
from sqlalchemy import text

app = application()
KEPT: list[AsyncSession] = []
RUNNING: set[asyncio.Task[None]] = set()


async def work():
    own = Session()
    KEPT.append(own)
    await own.execute(text("select 1"))  # named
    if CURED:
        await own.close()


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    if number % 10 == 0:
        task = asyncio.create_task(work())
        RUNNING.add(task)
        task.add_done_callback(RUNNING.discard)
    return {"row": await db.scalar(text("select 1"))}
