"""A connection that is held while a request waits for another service.

The class: a request reads, then asks a partner over HTTP (a payment, a reward, a mail, an object store)
with its transaction still open. The database does nothing meanwhile, and one slow partner empties the pool
for all routes.

Cured: everything is read first, the connection returned, and then the partner called.
"""

import http.client
import json
from urllib.parse import urlsplit

from flask import Flask, Response
from sqlalchemy.orm import Session

from app import auth
from app.config import Config
from app.connectors import Connectors
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST

PARTNER_TIMEOUT_S = 20.0


def reward_points(partner_url: str, customer_id: int) -> int:
    """Ask the partner's reward service for a customer's points."""
    partner = http.client.HTTPConnection(urlsplit(partner_url).netloc, timeout=PARTNER_TIMEOUT_S)
    try:
        partner.request("GET", f"/points/{customer_id}")
        return int(json.load(partner.getresponse())["points"])
    finally:
        partner.close()


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    engine = connectors.referrals.engine

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
            points = reward_points(config.partner_url, customer_id)
        return with_points(answer_list(customer_id, referrals), points)

    def cured(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        points = reward_points(config.partner_url, customer_id)
        return with_points(answer_list(customer_id, referrals), points)

    app.view_functions[LIST] = cured if config.cured else list_referrals


def with_points(answer: Response, points: int) -> Response:
    answer.headers["X-Reward-Points"] = str(points)
    return answer
