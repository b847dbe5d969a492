"""Litestar: a download is made by an async generator, which reads a page at a time over one session."""

import asyncio

from asgi import CURED, Session
from litestar import Litestar, get
from litestar.response import Stream
from sqlalchemy import text

PAGE = text("select cast(:page as int)")


async def lines():
    async with Session() as db:
        for page in range(6):
            found = await db.scalar(PAGE, {"page": page})  # named
            if CURED:
                await db.rollback()
            await asyncio.sleep(0.2)
            yield f"{found}\n"


@get("/item/{number:int}")
async def item(number: int) -> Stream:
    return Stream(lines(), media_type="text/csv")


@get("/health")
async def health() -> dict[str, bool]:
    return {"ok": True}


app = Litestar([item, health])
