"""A small Flask service with the ORM on a pool of SQLite connections, for gunicorn."""

import os

from flask import Flask, Response, jsonify
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship

CUSTOMERS = 10
REFERRALS_EACH = 30


class Base(DeclarativeBase):
    pass


class Reward(Base):
    __tablename__ = "rewards"
    id: Mapped[int] = mapped_column(primary_key=True)
    cents: Mapped[int]


class Referral(Base):
    __tablename__ = "referrals"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(index=True)
    friend: Mapped[str]
    reward_id: Mapped[int] = mapped_column(ForeignKey("rewards.id"))
    reward: Mapped[Reward] = relationship()


app = Flask(__name__)
engine = create_engine(f"sqlite:///{os.environ['POOL_SERVICE_DB']}", pool_size=5, max_overflow=5)
Base.metadata.create_all(engine)
with Session(engine) as seed, seed.begin():
    if seed.get(Reward, 1) is None:
        seed.add(Reward(id=1, cents=500))
        seed.add_all(
            Referral(customer_id=number % CUSTOMERS, friend=f"friend {number}", reward_id=1)
            for number in range(CUSTOMERS * REFERRALS_EACH)
        )


@app.get("/customers/<int:customer_id>/referrals")
def list_referrals(customer_id: int) -> Response:
    """One join and thirty rows, as a list in a mobile app."""
    query = select(Referral).where(Referral.customer_id == customer_id).options(joinedload(Referral.reward))
    with Session(engine) as session:
        rows = session.scalars(query).all()
        listed = [{"id": row.id, "friend": row.friend, "cents": row.reward.cents} for row in rows]
    return jsonify(customer=customer_id, referrals=listed)
