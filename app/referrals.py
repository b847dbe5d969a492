"""A customer's referrals: the whole list, one of them, and a new one."""

import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, current_app
from sqlalchemy import select

from app import auth
from app.connectors import Connectors
from app.errors import Answer
from app.models import Campaign, Customer, Product, Referral, StatusEvent
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.requests import json_body

EMAIL = re.compile(r"[^@\s\0]{1,64}@[^@\s\0]{1,255}")

blueprint = Blueprint("referrals", __name__)


@blueprint.get("/customers/<int:customer_id>/referrals")
def list_referrals(customer_id: int) -> Response:
    """Return all referrals of a customer, from the database that the release reads them from."""
    auth.allow(customer_id)
    session = Connectors.of(current_app).referrals.session
    referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
    if referrals is None and session.get(Customer, customer_id) is None:
        abort(404, f"no customer {customer_id}")
    return answer_list(customer_id, referrals)


@blueprint.get("/referrals/<int:referral_id>")
def one_referral(referral_id: int) -> Answer:
    """Return a referral with its history."""
    session = Connectors.of(current_app).primary.session
    found = session.execute(
        select(Referral, Campaign.name, Product.name)
        .join(Campaign, Campaign.id == Referral.campaign_id)
        .join(Product, Product.id == Referral.product_id)
        .where(Referral.id == referral_id)
    ).one_or_none()
    if found is None:
        abort(404, f"no referral {referral_id}")
    referral, campaign, product = found
    auth.allow(referral.customer_id)
    return _in_full(referral, campaign, product), 200


@blueprint.post("/customers/<int:customer_id>/referrals")
def invite(customer_id: int) -> Answer:
    """Invite a friend: the referral and its first status are stored together or not at all."""
    auth.allow(customer_id)
    body = json_body(campaign_id=int, product_id=int, invitee_email=str)
    session = Connectors.of(current_app).primary.session
    if session.get(Customer, customer_id) is None:
        abort(404, f"no customer {customer_id}")
    campaign = session.get(Campaign, body["campaign_id"])
    product = session.get(Product, body["product_id"])
    if campaign is None or product is None or not EMAIL.fullmatch(body["invitee_email"]):
        abort(400, "; ".join(_unfit(body, campaign, product)))
    referral = Referral(
        customer_id=customer_id,
        campaign_id=campaign.id,
        product_id=product.id,
        invitee_email=body["invitee_email"],
        channel="app",
        events=[StatusEvent(step=1, status="invited")],
    )
    session.add(referral)
    session.flush()  # the database fills in id and times
    answer = _in_full(referral, campaign.name, product.name)
    session.commit()
    return answer, 201


def answer_list(customer_id: int, referrals: str | None) -> Response:
    """Build the answer from the referrals, which PostgreSQL wrote as JSON; None: there are none."""
    body = f'{{"customer_id":{customer_id},"referrals":{referrals or "[]"}}}'
    return current_app.response_class(body, mimetype="application/json")


def _unfit(body: dict[str, Any], campaign: Campaign | None, product: Product | None) -> Iterator[str]:
    if campaign is None:
        yield f"no campaign {body['campaign_id']}"
    if product is None:
        yield f"no product {body['product_id']}"
    if not EMAIL.fullmatch(body["invitee_email"]):
        yield "invitee_email is not an e-mail address"


def _in_full(referral: Referral, campaign: str, product: str) -> dict[str, Any]:
    return {
        "id": referral.id,
        "customer_id": referral.customer_id,
        "campaign": campaign,
        "product": product,
        "invitee_email": referral.invitee_email,
        "channel": referral.channel,
        "created_at": referral.created_at.isoformat(),
        "status": referral.events[-1].status,
        "timeline": [
            {"status": event.status, "at": event.occurred_at.isoformat()} for event in referral.events
        ],
    }
