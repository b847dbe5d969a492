"""A request starts a thread, which ends and leaves its session to a list."""

import threading

from wsgi import CURED, Session, app, read, text

KEPT = []


def work():
    own = Session()
    KEPT.append(own)
    own.execute(text("select 1"))  # named
    if CURED:
        own.close()


@app.get("/item/<int:number>")
def item(number):
    if number % 10 == 0:
        threading.Thread(target=work).start()
    return {"row": read()}
