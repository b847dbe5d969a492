"""A light endpoint on asyncpg: ORM, one join, thirty rows; GET /agent/in and /agent/out switch the agent."""

import importlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import sqlalchemy
from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.subjects.driver_cycle import second_thread, stay_on_one_core
from benchmarks.subjects.switched_agent import Agent

fastapi: Any = importlib.import_module("fastapi")  # where this runs, not where it is type-checked
uvicorn: Any = importlib.import_module("uvicorn")
applications = importlib.import_module("starlette.applications")

ROWS = 30


class Base(DeclarativeBase):
    """Of the two tables."""


class Customer(Base):
    """Who refers others."""

    __tablename__ = "bench_customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Referral(Base):
    """Of one customer by another."""

    __tablename__ = "bench_referrals"
    id: Mapped[int] = mapped_column(primary_key=True)
    by: Mapped[int] = mapped_column(ForeignKey(Customer.id))
    code: Mapped[str]


engine = create_async_engine(os.environ["POOL_SERVICE_DB"], pool_size=5)
sessions = async_sessionmaker(engine)


agent = Agent(os.environ["POOL_SERVICE_AGENT"], lambda: None, sqlalchemy, starlette=applications)


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with sessions.begin() as session:
        session.add_all(Customer(id=number, name=f"customer {number}") for number in range(ROWS))
        await session.flush()
        session.add_all(
            Referral(by=number, code=f"{number}-{n}") for number in range(ROWS) for n in range(ROWS)
        )
    yield


async def opened() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


async def referrals(
    number: int, session: Annotated[AsyncSession, fastapi.Depends(opened)]
) -> list[dict[str, str]]:
    rows = await session.execute(
        select(Referral, Customer).join(Customer, Referral.by == Customer.id).where(Customer.id == number)
    )
    return [{"code": referral.code, "by": customer.name} for referral, customer in rows]


async def switch(way: str) -> str:
    {"in": agent.go_in, "out": agent.go_out}[way]()
    await engine.dispose()  # the agent knows the connections that it saw being opened
    return way


app = fastapi.FastAPI(lifespan=lifespan)
app.add_api_route("/customers/{number}/referrals", referrals)
app.add_api_route("/agent/{way}", switch)

if __name__ == "__main__":
    stay_on_one_core()
    second_thread()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, loop="asyncio")
