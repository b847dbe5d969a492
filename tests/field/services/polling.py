"""A request starts a task and polls for its result with its session open, as in-process task queues do."""

import asyncio
import itertools

from asgi import CURED, AsyncSession, Session, application, session
from fastapi import Depends
from sqlalchemy import exc, text

app = application()
RESULTS = {}
RUNNING = set()
KEYS = itertools.count()


async def reserve(key: int):
    try:
        async with Session() as own:
            RESULTS[key] = await own.scalar(text("select 2 from pg_sleep(0.02)"))  # named
    except exc.TimeoutError as error:
        RESULTS[key] = error


async def result_of(key: int):
    while key not in RESULTS:
        await asyncio.sleep(0.02)
    result = RESULTS.pop(key)
    if isinstance(result, exc.TimeoutError):
        raise result
    return result


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    row = await db.scalar(text("select 1 from pg_sleep(0.02)"))  # named
    if CURED:
        await db.close()
    key = next(KEYS)
    task = asyncio.create_task(reserve(key))
    RUNNING.add(task)
    task.add_done_callback(RUNNING.discard)
    return {"row": row, "more": await result_of(key)}
