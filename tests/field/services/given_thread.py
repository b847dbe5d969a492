"""A request answers, and gives its session to a thread that waits for a slow partner before it closes it."""

import threading
import time

from wsgi import CURED, Session, app, text


def notify(session):
    try:
        if CURED:
            session.commit()
        time.sleep(0.5)  # named
        session.execute(text("select 2"))
        session.commit()
    finally:
        session.close()


@app.get("/item/<int:number>")
def item(number):
    session = Session()
    row = session.scalar(text("select 1"))  # named
    threading.Thread(target=notify, args=(session,)).start()
    return {"row": row}
