"""Each request opens a connection of its own (NullPool), and a list keeps its session."""

from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from wsgi import CURED, URL, app, text

engine = create_engine(URL, poolclass=NullPool)
KEPT = []


@app.get("/item/<int:number>")
def item(number):
    db = Session(engine)
    try:
        return {"row": db.scalar(text("select 1"))}  # named
    finally:
        if CURED:
            db.close()
        else:
            KEPT.append(db)
