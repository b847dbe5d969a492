"""What the ASGI cases share: an engine of 3 + 2 on asyncpg, its sessions, and an application."""

import os

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

CURED = os.environ["CURED"] == "yes"
URL = os.environ["DATABASE_URL"]
engine = create_async_engine(URL, pool_size=3, max_overflow=2, pool_timeout=2)
Session = async_sessionmaker(engine, expire_on_commit=False)


async def session():
    async with Session() as opened:
        yield opened


def application(**options: object) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/health")
    async def health():
        return {"ok": True}

    return app


__all__ = ["CURED", "URL", "AsyncSession", "Session", "application", "engine", "session"]
