"""A background task of the response uses the request's session, and asks a slow partner with it."""

import asyncio

from asgi import CURED, AsyncSession, Session, application, session
from fastapi import BackgroundTasks, Depends
from sqlalchemy import text

app = application()


async def enrich(number: int, db: AsyncSession):
    row = await db.scalar(text("select 2"))
    if CURED:
        await db.rollback()
    await asyncio.sleep(1.2)  # named
    return row


async def enrich_with_its_own_session(number: int):
    async with Session() as own:
        await enrich(number, own)


@app.get("/item/{number}")
async def item(number: int, tasks: BackgroundTasks, db: AsyncSession = Depends(session)):
    row = await db.scalar(text("select 1"))  # named
    if CURED:
        await db.rollback()
        tasks.add_task(enrich_with_its_own_session, number)
    else:
        tasks.add_task(enrich, number, db)
    return {"row": row}
