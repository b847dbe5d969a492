"""A dependency drives another one by `async for`, which never closes it when the endpoint raises."""

from asgi import CURED, AsyncSession, application, session
from fastapi import Depends, HTTPException
from sqlalchemy import text

app = application()


async def session_if_needed():
    async for opened in session():
        yield opened


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session if CURED else session_if_needed)):
    row = await db.scalar(text("select 1"))  # named
    if number % 4 == 0:
        raise HTTPException(404, f"no item {number}")
    return {"row": row}
