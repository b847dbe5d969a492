"""An advisory lock is held on one connection while the work under it takes a second one."""

from asgi import CURED, AsyncSession, Session, application, engine
from sqlalchemy import text

app = application()
LOCK = text("select pg_advisory_xact_lock(12)")


async def publish(db: AsyncSession):
    return await db.scalar(text("select 1"))  # named


@app.get("/item/{number}")
async def item(number: int):
    if CURED:
        async with Session() as own:
            await own.execute(LOCK)
            return {"row": await publish(own)}
    async with engine.begin() as locked:  # named
        await locked.execute(LOCK)
        async with Session() as own:
            return {"row": await publish(own)}
