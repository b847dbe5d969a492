"""The start-up loads its tables with a session each, keeps all of them, and never gets to the end."""

from contextlib import asynccontextmanager

from asgi import CURED, AsyncSession, Session, application, session
from fastapi import Depends, FastAPI
from sqlalchemy import text

LOADED: list[AsyncSession] = []


async def load(table: int):
    own = Session()
    LOADED.append(own)
    await own.scalar(text("select 1"))  # named
    if CURED:
        await own.close()


@asynccontextmanager
async def lifespan(_app: FastAPI):
    for table in range(6):
        await load(table)
    yield


app = application(lifespan=lifespan)


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    return {"row": await db.scalar(text("select 1"))}
