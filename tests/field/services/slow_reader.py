"""An export is made from an open session, and its client hardly reads what is sent."""

from asgi import CURED, Session, application
from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from sqlalchemy import text

exports = APIRouter(prefix="/export")
PART = b"x" * 100_000


class Export:
    def __init__(self, number: int):
        self.number = number

    async def parts(self):
        async with Session() as db:
            row = await db.scalar(text("select cast(:number as int)"), {"number": self.number})  # named
            if CURED:
                await db.close()
            yield f"{row}\n".encode()
            for _ in range(60):
                yield PART


@exports.get("/{number}")
async def export(number: int):
    return StreamingResponse(Export(number).parts(), media_type="text/csv")


app = application()
app.include_router(exports)


@app.get("/item/{number}")
async def item(number: int):
    async with Session() as db:
        return {"row": await db.scalar(text("select 1"))}
