"""A connection that is held while a response is made and sent.

The class: a response is streamed (events, a file, a model's answer), and the session that the request read
with stays open until the last byte was sent. The database does nothing meanwhile, and as many streams as
there are connections empty the pool for all routes.

Cured: everything is read first, the connection returned, and then the response streamed.
"""

from collections.abc import Iterator

from flask import Flask, Response
from sqlalchemy.orm import Session

from app import auth
from app.config import Config
from app.connectors import Connectors
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST
from app.zoo.held_across_external_wait import reward_points


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    engine = connectors.referrals.engine

    def parts(body: bytes, customer_id: int) -> Iterator[bytes]:
        """The list, and then what the partner adds to it: white space, so that it stays the same JSON."""
        yield body
        reward_points(config.partner_url, customer_id)
        yield b" "

    def streamed(body: bytes, customer_id: int) -> Response:
        answer = app.response_class(parts(body, customer_id), mimetype="application/json")
        answer.content_length = len(body) + 1
        return answer

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        session = Session(engine)
        referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        body = answer_list(customer_id, referrals).get_data()
        answer = streamed(body, customer_id)
        answer.call_on_close(session.close)
        return answer

    def cured(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        body = answer_list(customer_id, referrals).get_data()
        return streamed(body, customer_id)

    app.view_functions[LIST] = cured if config.cured else list_referrals
