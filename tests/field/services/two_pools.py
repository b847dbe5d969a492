"""Some requests take a connection of the first engine and then of the second, others the reverse."""

import time

from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
from wsgi import CURED, URL, Session, app, text

reports = create_engine(URL, pool_size=3, max_overflow=2, pool_timeout=2)
Reports = sessionmaker(reports)


def both(first, second):
    with first() as outer:
        outer.scalar(text("select 1"))  # named
        time.sleep(0.05)
        if CURED:
            outer.close()
        with second() as inner:
            return inner.scalar(text("select 2"))  # named


@app.get("/item/<int:number>")
def item(number):
    return {"row": both(Session, Reports) if number % 2 else both(Reports, Session)}
