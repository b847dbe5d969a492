"""A row is locked with NOWAIT, and tried again while another request has it and asks a partner."""

import time

from sqlalchemy.exc import OperationalError
from wsgi import CURED, Session, app, text

LOCK = text("select value from counters where id = 0 for update nowait")


def ask_partner():
    time.sleep(0.3)


def lock(db):
    while True:
        try:
            with db.begin_nested():
                return db.scalar(LOCK)  # named
        except OperationalError:
            time.sleep(0.1)  # named


@app.get("/item/<int:number>")
def item(number):
    if CURED:
        ask_partner()
    with Session() as db:
        if CURED:
            db.execute(text("update counters set value = value + 1 where id = :number"), {"number": number})
        else:
            lock(db)
            ask_partner()
            db.execute(text("update counters set value = value + 1 where id = 0"))
        db.commit()
    return {"ok": True}
