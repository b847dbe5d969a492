"""A request that holds a connection takes a second one from the same pool.

The class: a helper opens a session of its own (an audit line, a feature flag, a sequence number) inside a
request that has its session open. As many requests as the pool has connections take their first at the same
time, and all wait for a second that none gives back: no request proceeds until the pool's time-out.

Cured: the helper uses the request's session.
"""

from flask import Flask, Response, abort
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app import auth
from app.config import Config
from app.connectors import Connectors
from app.models import Customer
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST


def may_see_referrals(engine: Engine, customer_id: int) -> bool:
    """A helper with a session of its own, which every endpoint calls."""
    with Session(engine) as session:
        return session.get(Customer, customer_id) is not None


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    engine = connectors.referrals.engine

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
            if not may_see_referrals(engine, customer_id):
                abort(404, f"no customer {customer_id}")
        return answer_list(customer_id, referrals)

    def cured(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
            if session.get(Customer, customer_id) is None:
                abort(404, f"no customer {customer_id}")
        return answer_list(customer_id, referrals)

    app.view_functions[LIST] = cured if config.cured else list_referrals
