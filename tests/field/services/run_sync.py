"""Code that is shared with a synchronous service runs by `session.run_sync`, and waits there."""

import asyncio
import time
from typing import Annotated

from asgi import CURED, AsyncSession, application, session
from fastapi import Depends
from sqlalchemy import text

app = application()


def rate():
    time.sleep(0.08)  # named
    return 1


def price(opened):
    return opened.scalar(text("select 1")), rate()


@app.get("/item/{number}")
async def item(number: int, opened: Annotated[AsyncSession, Depends(session)]):
    if CURED:
        row = await opened.scalar(text("select 1"))
        await opened.close()
        return {"row": row, "rate": await asyncio.to_thread(rate)}
    row, found = await opened.run_sync(price)
    return {"row": row, "rate": found}
