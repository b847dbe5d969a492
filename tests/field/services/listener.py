"""A listener of the session writes an audit row over a second connection, in the flush."""

from sqlalchemy import event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from wsgi import CURED, Session, app, engine, text


class Base(DeclarativeBase):
    pass


class Counter(Base):
    __tablename__ = "counters"
    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int]


@event.listens_for(Session, "after_flush")
def audit(session, _context):
    if CURED:
        session.execute(text("select 9"))
        return
    with engine.connect() as own:  # named
        own.execute(text("select 9"))


@app.get("/item/<int:number>")
def item(number):
    with Session() as db:
        counter = db.get(Counter, number)  # named
        counter.value += 1
        db.commit()
    return {"ok": True}
