"""A websocket keeps one session for its whole life, most of which it waits for the visitor's next message."""

from asgi import CURED, AsyncSession, Session, application, session
from fastapi import Depends, WebSocket, WebSocketDisconnect
from sqlalchemy import text

app = application()


async def answer(db: AsyncSession):
    return await db.scalar(text("select 1"))  # named


@app.websocket("/chat")
async def chat(socket: WebSocket):
    await socket.accept()
    try:
        if CURED:
            while True:
                await socket.receive_text()
                async with Session() as short:
                    row = await answer(short)
                await socket.send_text(str(row))
        async with Session() as db:
            while True:
                await socket.receive_text()  # named
                await socket.send_text(str(await answer(db)))
    except WebSocketDisconnect:
        return


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    return {"row": await db.scalar(text("select 1"))}
