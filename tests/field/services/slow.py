"""Plain saturation: a slow query, and every connection at work."""

from asgi import CURED, AsyncSession, application, session
from fastapi import Depends
from sqlalchemy import text

app = application()
QUERY = text("select 1") if CURED else text("select 1 from pg_sleep(0.8)")


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    return {"row": await db.scalar(QUERY)}  # named
