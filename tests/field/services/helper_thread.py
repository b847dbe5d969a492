"""A request starts a thread for a part of its work and waits for its end, while its own session is open."""

from threading import Thread

from wsgi import CURED, Scoped, Session, app, read, text


def audit(number):
    with Session() as session:
        session.scalar(text("select 2"))  # named


@app.get("/item/<int:number>")
def item(number):
    row = Scoped.scalar(text("select 1, pg_sleep(0.05)"))  # named
    if CURED:
        Scoped.remove()
    helper = Thread(target=audit, args=(number,))
    helper.start()
    helper.join()
    return {"row": row, "again": read() if CURED else row}
