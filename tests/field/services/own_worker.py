"""Threads that take their work from a queue never remove the thread-local session that their work uses."""

import queue
import threading

from wsgi import CURED, Scoped, app, read, text

ITEMS = queue.Queue()


def handle(number):
    Scoped.scalar(text("select 1"))  # named
    if CURED:
        Scoped.remove()


def work():
    while True:
        handle(ITEMS.get())


for _ in range(6):
    threading.Thread(target=work, daemon=True).start()


@app.get("/item/<int:number>")
def item(number):
    ITEMS.put(number)
    return {"row": read()}
