"""A session that is dropped without being closed; the garbage collector finds it some time later.

The class: `session = Session()` in a function, no `with`, no `close()`. In a small test the connection
seems to come back at once. A session with an open transaction is part of a reference cycle, so it waits for
the cyclic collector, which runs when enough objects were made: soon under load, and not at all while every
thread waits for a connection.

Cured: `with`.
"""

from flask import Flask, Response
from sqlalchemy.orm import Session

from app import auth
from app.config import Config
from app.connectors import Connectors
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    engine = connectors.referrals.engine

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        session = Session(engine)
        return answer_list(customer_id, session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id}))

    def cured(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            return answer_list(
                customer_id, session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
            )

    app.view_functions[LIST] = cured if config.cured else list_referrals
