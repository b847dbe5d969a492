"""Threads of an executor keep a session each in a `threading.local` that nobody closes."""

import threading
from concurrent.futures import ThreadPoolExecutor

from wsgi import CURED, Session, app, read, text

LOCAL = threading.local()
executor = ThreadPoolExecutor(8)


def job(number):
    if not hasattr(LOCAL, "db"):
        LOCAL.db = Session()
    LOCAL.db.scalar(text("select 1, pg_sleep(0.1)"))  # named
    if CURED:
        LOCAL.db.close()


@app.get("/item/<int:number>")
def item(number):
    executor.submit(job, number)
    return {"row": read()}
