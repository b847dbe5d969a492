"""The session of the log-in check stays open until the last byte of a streamed response was sent."""

import asyncio

from asgi import CURED, AsyncSession, Session, application, session
from fastapi import Depends
from fastapi.responses import StreamingResponse
from sqlalchemy import text

app = application()


async def user(db: AsyncSession = Depends(session)):
    return await db.scalar(text("select 1"))  # named


async def user_with_a_short_session():
    async with Session() as short:
        return await short.scalar(text("select 1"))


@app.get("/item/{number}")
async def item(number: int, who: int = Depends(user_with_a_short_session if CURED else user)):
    async def events():
        for part in range(6):
            await asyncio.sleep(0.25)
            yield f"data: {part}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
