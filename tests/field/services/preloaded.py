"""A module opens its connection before the server forks, and both of its processes use it."""

import threading

from wsgi import CURED, Session, app, engine, read, text

LOCK = threading.Lock()
CONNECTION = None if CURED else engine.connect()  # named


@app.get("/item/<int:number>")
def item(number):
    if CURED:
        with Session() as db:
            return {"row": db.scalar(text("select :number"), {"number": number})}
    with LOCK:
        row = CONNECTION.scalar(text("select :number"), {"number": number})
        CONNECTION.commit()
        return {"row": row}


__all__ = ["app", "read"]
