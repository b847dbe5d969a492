"""Requests hand jobs to an executor that always has more to do; a job keeps its session in a cache."""

from concurrent.futures import ThreadPoolExecutor

from wsgi import CURED, Session, app, engine, text

executor = ThreadPoolExecutor(8)
LAST = {}


def audit(number):
    session = Session()
    session.scalar(text("select 1"))  # named
    if CURED:
        session.close()
    LAST[number] = session


@app.get("/item/<int:number>")
def item(number):
    executor.submit(audit, number)
    with engine.connect() as connection:
        return {"row": connection.scalar(text("select 1"))}
