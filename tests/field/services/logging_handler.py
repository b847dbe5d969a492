"""A log handler opens a session of its own, under the handler's lock, while the request's session is open."""

import logging

from wsgi import CURED, Scoped, Session, app, text


def read():
    return Scoped.scalar(text("select 1"))  # named


class Audit(logging.Handler):
    def emit(self, record):
        with Session() as own:
            own.execute(text("select 9"))  # named


audit = logging.getLogger("audit")
audit.addHandler(Audit())
audit.setLevel("INFO")
audit.propagate = False


@app.get("/item/<int:number>")
def item(number):
    row = read()
    if CURED:
        Scoped.rollback()
    audit.info("read %s", number)
    return {"row": row}
