"""A thread consumes messages for as long as the service runs, and leaves a session open after each."""

import threading
import time

from sqlalchemy import exc
from wsgi import CURED, Session, app, read, text

KEPT = []


def consume():
    while True:
        db = Session()
        try:
            db.scalar(text("select 1"))  # named
        except exc.TimeoutError:
            db.close()
        if CURED:
            db.close()
        else:
            KEPT.append(db)
        time.sleep(0.3)


threading.Thread(target=consume, daemon=True).start()


@app.get("/item/<int:number>")
def item(number):
    return {"row": read()}
