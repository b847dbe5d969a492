"""A row that every request updates, and keeps locked for as long as it lasts.

The class: a counter, a balance, a `last_seen` or a sequence of one's own is updated at the start of a
request, which then reads, computes or asks somebody, and commits at its end. The row is locked until then, so
requests go through one by one; those that wait hold a connection each, and the pool is empty for all routes.
The database is well, and has nothing to do.

Cured: everything is read and asked first, and the row is updated right before the commit.
"""

from flask import Flask, Response
from sqlalchemy import func, update
from sqlalchemy.orm import Session

from app import auth
from app.config import Config
from app.connectors import Connectors
from app.models import Campaign
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST
from app.zoo.held_across_external_wait import reward_points, with_points

NEWEST_CAMPAIGN = 1


def note_visit(session: Session) -> None:
    """Keep when the newest campaign was last looked at."""
    session.execute(update(Campaign).where(Campaign.id == NEWEST_CAMPAIGN).values(starts_at=func.now()))


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    engine = connectors.primary.engine

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            note_visit(session)
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
            points = reward_points(config.partner_url, customer_id)
            session.commit()
        return with_points(answer_list(customer_id, referrals), points)

    def cured(customer_id: int) -> Response:
        auth.allow(customer_id)
        points = reward_points(config.partner_url, customer_id)
        with Session(engine) as session:
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
            note_visit(session)
            session.commit()
        return with_points(answer_list(customer_id, referrals), points)

    app.view_functions[LIST] = cured if config.cured else list_referrals
