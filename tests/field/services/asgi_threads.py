"""What the ASGI cases with synchronous sessions share: an engine of 3 + 2 on psycopg2, and an application."""

import os

from fastapi import FastAPI
from sqlalchemy import create_engine
from sqlalchemy.orm import Session as SyncSession
from sqlalchemy.orm import sessionmaker

CURED = os.environ["CURED"] == "yes"
engine = create_engine(os.environ["DATABASE_URL"], pool_size=3, max_overflow=2, pool_timeout=2)
Session = sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


@app.get("/health")
async def health():
    return {"ok": True}


__all__ = ["CURED", "Session", "SyncSession", "app", "engine"]
