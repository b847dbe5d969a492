"""A request waits for a future that a worker task sets, which needs a session for each job."""

import asyncio
from contextlib import asynccontextmanager

from asgi import CURED, Session, application
from sqlalchemy import exc, text

JOBS = asyncio.Queue()


async def work():
    while True:
        answer = await JOBS.get()
        try:
            async with Session() as db:
                answer.set_result(await db.scalar(text("select 2")))  # named
        except exc.TimeoutError as error:
            answer.set_exception(error)


@asynccontextmanager
async def lifespan(_app):
    workers = [asyncio.create_task(work()) for _ in range(8)]
    yield
    for worker in workers:
        worker.cancel()


app = application(lifespan=lifespan)


@app.get("/item/{number}")
async def item(number: int):
    answer = asyncio.get_running_loop().create_future()
    async with Session() as db:
        row = await db.scalar(text("select 1, pg_sleep(0.05)"))  # named
        if CURED:
            await db.close()
        await JOBS.put(answer)
        return {"row": row, "more": await answer}
