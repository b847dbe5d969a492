"""An engine for each request, never disposed."""

from sqlalchemy import create_engine
from wsgi import CURED, URL, app, engine, read, text

KEPT = []


def more():
    if CURED:
        own = engine
    else:
        own = create_engine(URL, pool_size=1)  # named
        KEPT.append(own)
    with own.connect() as connection:
        return connection.scalar(text("select 1"))


@app.get("/item/<int:number>")
def item(number):
    return {"row": read() if number % 2 else more()}
