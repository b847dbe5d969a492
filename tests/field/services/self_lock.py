"""A helper saves the same row over a session of its own, and waits for the transaction of its own request."""

from wsgi import CURED, Scoped, Session, app, text

UPDATE = text("update counters set value = value + 1 where id = :number")


def save(number):
    if CURED:
        Scoped.execute(UPDATE, {"number": number})
        return
    with Session() as own:
        own.execute(text("set local lock_timeout = '1500ms'"))  # named
        own.execute(UPDATE, {"number": number})
        own.commit()


@app.get("/item/<int:number>")
def item(number):
    Scoped.execute(UPDATE, {"number": number})  # named
    save(number)
    Scoped.commit()
    return {"ok": True}
