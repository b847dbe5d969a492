"""Two defects: a query that is slow, and an early return that does not close its session.

The class: the pool is full because of a slow query, which is then fixed; a week later it is full again.
The leak is the primary cause, because it stays, and the slow query makes it worse.

Cured: the session is taken in a `with` block, and the query is fast again.
"""

from flask import Flask, Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import auth
from app.config import Config
from app.connectors import Connectors
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST
from app.zoo.saturation import SLOW_S
from app.zoo.unclosed_path import sessions_per_request

OLD_PROGRAMME = 10  # one customer in ten


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    engine, sessions = connectors.referrals.engine, sessions_per_request(app, connectors)

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        session = sessions()
        session.execute(select(func.pg_sleep(SLOW_S)))
        referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        if customer_id % OLD_PROGRAMME == 0:
            return answer_list(customer_id, referrals)  # these have no points to add up
        sessions.remove()
        return answer_list(customer_id, referrals)

    def cured(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        return answer_list(customer_id, referrals)

    app.view_functions[LIST] = cured if config.cured else list_referrals
