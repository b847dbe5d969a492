"""A helper opens a session of its own while the request's session is open."""

from asgi import CURED, AsyncSession, Session, application, session
from fastapi import Depends
from sqlalchemy import text

app = application()


async def audit(number: int, db: AsyncSession):
    if CURED:
        await db.execute(text("select 3"))
        return
    async with Session() as own:
        await own.execute(text("select 3"))  # named


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    row = await db.scalar(text("select 1"))  # named
    await audit(number, db)
    return {"row": row}
