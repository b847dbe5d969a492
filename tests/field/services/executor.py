"""Requests hand work to an executor whose threads keep a thread-local session that nobody removes."""

from concurrent.futures import ThreadPoolExecutor

from wsgi import CURED, Scoped, app, read, text

executor = ThreadPoolExecutor(8)


def work(number):
    try:
        return Scoped.scalar(text("select 1"))  # named
    finally:
        if CURED:
            Scoped.remove()


@app.get("/item/<int:number>")
def item(number):
    if number % 5 == 0:
        executor.submit(work, number)
    return {"row": read()}
