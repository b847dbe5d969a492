"""A request reads from the primary and then from a replica that no longer answers, over a second engine."""

import os
import socket

from asgi_threads import CURED, Session, SyncSession, app
from fastapi import Depends
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

lost = socket.create_server(("127.0.0.1", 0), backlog=100)
DEAD = f"postgresql+psycopg2://reader:secret@127.0.0.1:{lost.getsockname()[1]}/shop"
replica = create_engine(
    os.environ["DATABASE_URL"] if CURED else DEAD,
    pool_size=10,
    pool_timeout=2,
    connect_args={"connect_timeout": 3},
)
Replica = sessionmaker(replica)


def session():
    with Session() as opened:
        yield opened


@app.get("/item/{number}")
def item(number: int, db: SyncSession = Depends(session)):
    row = db.scalar(text("select 1"))
    with Replica() as reader:
        return {"row": row, "more": reader.scalar(text("select 2"))}  # named
