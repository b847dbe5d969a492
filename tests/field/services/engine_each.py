"""A dependency creates an engine for each request and never disposes of it."""

from asgi import CURED, URL, AsyncSession, application, session
from fastapi import Depends
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

app = application()
KEPT = []


async def own_session():
    own = create_async_engine(URL)  # named
    KEPT.append(own)
    async with async_sessionmaker(own)() as opened:
        yield opened


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session if CURED else own_session)):
    return {"row": await db.scalar(text("select 1"))}
