"""A language model is asked over the network while the transaction is open."""

import asyncio
from contextlib import asynccontextmanager

from asgi import CURED, AsyncSession, application, session
from fastapi import Depends, FastAPI
from sqlalchemy import text

MODEL: list[asyncio.Server] = []


async def generate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    await asyncio.sleep(1.2)
    writer.write(b"answer\n")
    await writer.drain()
    writer.close()


@asynccontextmanager
async def lifespan(_app: FastAPI):
    async with await asyncio.start_server(generate, "127.0.0.1", 0) as server:
        MODEL.append(server)
        yield


app = application(lifespan=lifespan)


async def ask_model(question: str) -> str:
    reader, writer = await asyncio.open_connection(*MODEL[0].sockets[0].getsockname())
    writer.write(f"{question}\n".encode())
    line = await reader.readline()  # named
    writer.close()
    return line.decode()


@app.get("/item/{number}")
async def item(number: int, db: AsyncSession = Depends(session)):
    row = await db.scalar(text("select 1"))
    if CURED:
        await db.rollback()
    return {"row": row, "answer": await ask_model(str(number))}
