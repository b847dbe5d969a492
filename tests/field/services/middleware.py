"""A middleware keeps the session of its log-in check while the endpoint opens another one."""

from asgi import CURED, AsyncSession, Session, application, session
from fastapi import Depends, Request
from sqlalchemy import text

app = application()


async def authenticate(db: AsyncSession):
    return await db.scalar(text("select 1"))  # named


@app.middleware("http")
async def check(request: Request, call_next):
    if request.url.path == "/health":
        return await call_next(request)
    async with Session() as db:
        await authenticate(db)
        if not CURED:
            return await call_next(request)
    return await call_next(request)


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    return {"row": await db.scalar(text("select 2"))}  # named
