"""A session per asyncio task that nobody removes."""

from asyncio import current_task

from asgi import CURED, application, engine
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker

app = application()
Scoped = async_scoped_session(async_sessionmaker(engine), scopefunc=current_task)


@app.get("/item/{number}")
async def item(number: int):
    try:
        return {"row": await Scoped.scalar(text("select 1"))}  # named
    finally:
        if CURED:
            await Scoped.remove()
