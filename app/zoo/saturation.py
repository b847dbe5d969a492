"""No defect: a query that is slow, and a pool that is too small for it.

The class: an index is missing, a plan has flipped, a table has grown. Every connection does work and
comes back, but arrivals times hold time exceed what the pool has.

Cured: the query is fast again.
"""

from collections.abc import Callable

from flask import Flask, Response
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app import auth
from app.config import Config
from app.connectors import Connectors
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST

SLOW_S = 0.4  # the query's time in the server without its index


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    app.view_functions[LIST] = slow_list(connectors.referrals.engine, 0.0 if config.cured else SLOW_S)


def slow_list(engine: Engine, slow_s: float) -> Callable[[int], Response]:
    """Return the list's query, made slower in the server by that time."""

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            if slow_s:
                session.execute(select(func.pg_sleep(slow_s)))
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        return answer_list(customer_id, referrals)

    return list_referrals
