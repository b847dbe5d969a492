"""What the WSGI cases share: an engine of 3 + 2, and a thread-local session that each request removes."""

import os

from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

CURED = os.environ["CURED"] == "yes"
URL = os.environ["DATABASE_URL"]
engine = create_engine(URL, pool_size=3, max_overflow=2, pool_timeout=2)
Session = sessionmaker(engine)
Scoped = scoped_session(Session)
app = Flask(__name__)


@app.get("/health")
def health():
    return {"ok": True}


@app.teardown_appcontext
def remove(_error):
    Scoped.remove()


def read():
    return Scoped.scalar(text("select 1"))


__all__ = ["CURED", "URL", "Scoped", "Session", "app", "engine", "read", "text"]
