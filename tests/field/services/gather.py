"""One request fans out into six queries at once, each in a session of its own."""

import asyncio

from asgi import CURED, Session, application
from sqlalchemy import text

app = application()


async def score(part: int):
    async with Session() as own:
        return await own.scalar(text("select 1 from pg_sleep(0.05)"))  # named


@app.get("/item/{number}")
async def item(number: int):
    if CURED:
        return {"rows": await score(0)}
    return {"rows": await asyncio.gather(*(score(part) for part in range(6)))}
