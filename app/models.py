"""The service's tables, as in schema.sql; a test holds the two together."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, MetaData, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Names of keys are those that PostgreSQL itself gives."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
        }
    )
    type_annotation_map: ClassVar = {str: Text, datetime: DateTime(timezone=True)}


class Customer(Base):
    __tablename__ = "customers"
    __table_args__ = (Index("customers_email_key", "email", unique=True),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    email: Mapped[str]
    display_name: Mapped[str]
    tier: Mapped[str] = mapped_column(server_default="standard")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    monthly_price_cents: Mapped[int]


class Campaign(Base):
    __tablename__ = "campaigns"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    customer_reward_cents: Mapped[int]
    friend_reward_cents: Mapped[int]
    starts_at: Mapped[datetime]


class Referral(Base):
    __tablename__ = "referrals"
    __table_args__ = (Index("referrals_customer_id_created_at_idx", "customer_id", "created_at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey(Customer.id))
    campaign_id: Mapped[int] = mapped_column(ForeignKey(Campaign.id))
    product_id: Mapped[int] = mapped_column(ForeignKey(Product.id))
    invitee_email: Mapped[str]
    channel: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    events: Mapped[list["StatusEvent"]] = relationship(order_by="StatusEvent.step")


class StatusEvent(Base):
    """One step of a referral, counted from 1; the last one is its status."""

    __tablename__ = "status_events"

    referral_id: Mapped[int] = mapped_column(ForeignKey(Referral.id), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[str]
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Reward(Base):
    """What an approved referral earned its customer or the friend."""

    __tablename__ = "rewards"
    __table_args__ = (Index("rewards_referral_id_idx", "referral_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    referral_id: Mapped[int] = mapped_column(ForeignKey(Referral.id))
    beneficiary: Mapped[str]
    amount_cents: Mapped[int]
    granted_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Payout(Base):
    """One attempt to pay a reward, counted from 1; the last one tells its state."""

    __tablename__ = "payouts"

    reward_id: Mapped[int] = mapped_column(ForeignKey(Reward.id), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
