"""Under gevent: a partner is asked while the transaction is open."""

import time

from wsgi import CURED, Scoped, app, read


def ask_partner():
    time.sleep(1.2)  # named


@app.get("/item/<int:number>")
def item(number):
    row = read()
    if CURED:
        Scoped.rollback()
    ask_partner()
    return {"row": row}
