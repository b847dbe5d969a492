"""A customer's summary, which the app shows first."""

from flask import Blueprint, abort, current_app
from sqlalchemy import func, select

from app import auth
from app.connectors import Connectors
from app.errors import Answer
from app.models import Customer, Referral

blueprint = Blueprint("customers", __name__)


@blueprint.get("/customers/<int:customer_id>/summary")
def summary(customer_id: int) -> Answer:
    """Return the customer's data and number of referrals, by two reads of an index."""
    auth.allow(customer_id)
    session = Connectors.of(current_app).primary.session
    customer = session.get(Customer, customer_id)
    if customer is None:
        abort(404, f"no customer {customer_id}")
    count, newest_at = session.execute(
        select(func.count(), func.max(Referral.created_at)).where(Referral.customer_id == customer_id)
    ).one()
    return {
        "customer_id": customer.id,
        "display_name": customer.display_name,
        "tier": customer.tier,
        "referrals": count,
        "newest_referral_at": newest_at and newest_at.isoformat(),
    }, 200
