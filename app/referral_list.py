"""The query behind a customer's list of referrals, the heaviest of the service.

PostgreSQL builds the JSON, which is much cheaper than to send columns and build it here.
"""

from sqlalchemy import BigInteger, Text, bindparam, func, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.models import Campaign, Payout, Product, Referral, Reward, StatusEvent

_newest = (
    select(StatusEvent.status, StatusEvent.occurred_at)
    .where(StatusEvent.referral_id == Referral.id)
    .order_by(StatusEvent.step.desc())
    .limit(1)
    .lateral("newest")
)
_timeline = (
    select(
        func.json_agg(
            aggregate_order_by(
                func.json_build_object("status", StatusEvent.status, "at", StatusEvent.occurred_at),
                StatusEvent.step,
            )
        ).label("steps")
    )
    .where(StatusEvent.referral_id == Referral.id)
    .lateral("timeline")
)
_payout = (
    select(Payout.state, Payout.updated_at)
    .where(Payout.reward_id == Reward.id)
    .order_by(Payout.attempt.desc())
    .limit(1)
    .lateral("payout")
)
_reward = (
    select(
        func.sum(Reward.amount_cents).filter(Reward.beneficiary == "customer").label("cents"),
        func.json_agg(
            aggregate_order_by(
                func.json_build_object(
                    *("for", Reward.beneficiary),
                    *("cents", Reward.amount_cents),
                    *("payout", _payout.c.state),
                    *("since", _payout.c.updated_at),
                ),
                Reward.id,
            )
        ).label("each"),
    )
    .select_from(Reward)
    .outerjoin(_payout, true())
    .where(Reward.referral_id == Referral.id)
    .lateral("reward")
)
_oldest_first = (Referral.created_at, Referral.id)

_referral = (
    select(
        Referral.id,
        Referral.invitee_email,
        Referral.channel,
        Referral.created_at,
        Campaign.name.label("campaign"),
        Product.name.label("product"),
        _newest.c.status,
        _newest.c.occurred_at.label("status_since"),
        _timeline.c.steps.label("timeline"),
        _reward.c.each.label("rewards"),
        func.sum(_reward.c.cents).over(order_by=_oldest_first).cast(BigInteger).label("earned_so_far_cents"),
        func.sum(_reward.c.cents)
        .over(partition_by=Referral.campaign_id)
        .cast(BigInteger)
        .label("earned_in_campaign_cents"),
        func.row_number()
        .over(partition_by=Referral.campaign_id, order_by=_oldest_first)
        .label("number_in_campaign"),
    )
    .join(Campaign, Campaign.id == Referral.campaign_id)
    .join(Product, Product.id == Referral.product_id)
    .join(_newest, true())
    .outerjoin(_timeline, true())
    .outerjoin(_reward, true())
    .where(Referral.customer_id == bindparam("customer_id"))
    .subquery("referral")
)

# All of them as one JSON text, newest first; null for a customer without any.
REFERRALS_OF_CUSTOMER = select(
    func.json_agg(
        aggregate_order_by(
            func.row_to_json(_referral.table_valued()), _referral.c.created_at.desc(), _referral.c.id.desc()
        )
    ).cast(Text)
).select_from(_referral)
