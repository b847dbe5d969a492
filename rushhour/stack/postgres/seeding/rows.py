"""The rows that the referrals service starts with: the same bytes on every machine for a size and a seed.

Referrals stand in order of time. A customer's own are scattered over the whole table, as they are when
customers come back again and again; so are their events, rewards and payouts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import shake_256
from typing import Final

from rushhour.scenario.model import Data
from rushhour.stack.postgres.seeding.copy_binary import Row
from rushhour.stack.postgres.seeding.dataset import (
    CUSTOMERS,
    GROUP,
    REFERRALS_PER_GROUP,
    is_gold,
    referrals_of,
)

SEGMENTS: Final = 20  # of a group's referrals; the customers of each segment are those of another group
IN_SEGMENT: Final = REFERRALS_PER_GROUP // SEGMENTS

_HOUR_US: Final = 3_600_000_000
_POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_US: Final = (datetime(2023, 1, 1, tzinfo=UTC) - _POSTGRES_EPOCH) // timedelta(microseconds=1)
_SPAN_US: Final = 3 * 365 * 24 * _HOUR_US  # from the first referral to the last

_CHANNELS: Final = ("email", "link", "message", "in person")
_BENEFICIARIES: Final = ("customer", "friend")
_RETRIED: Final = 8  # one payout of so many fails at first
_SLOWEST_H: Final = 120  # from one status to the next
_JOURNEYS: Final = (  # the statuses of a referral, and how many of twenty go that way
    (2, ("invited",)),
    (3, ("invited", "opened")),
    (3, ("invited", "opened", "applied")),
    (2, ("invited", "opened", "applied", "rejected")),
    (3, ("invited", "opened", "applied", "approved")),
    (7, ("invited", "opened", "applied", "approved", "rewarded")),
)
_OF_TWENTY: Final = tuple(statuses for count, statuses in _JOURNEYS for _ in range(count))
PRODUCTS: Final[tuple[Row, ...]] = tuple((n, f"product {n}", 490 + 250 * n) for n in range(1, 13))
CAMPAIGNS: Final[tuple[Row, ...]] = tuple(
    (n, f"campaign {n}", 1000 + 250 * (n % 8), 500 + 100 * (n % 5), _FIRST_US) for n in range(1, 25)
)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is alike in the referrals that stand at one place of every group."""

    member: int  # the customer's place in its group, from 1
    campaign: int
    product: int
    channel: str
    statuses: tuple[str, ...]
    pace_us: int  # from one status to the next
    payouts: tuple[str, ...]  # the states that each of its rewards goes through; none without a reward


def _payouts(statuses: tuple[str, ...], *, retried: bool) -> tuple[str, ...]:
    if "rewarded" in statuses:
        return ("failed", "paid") if retried else ("paid",)
    return ("scheduled",) if "approved" in statuses else ()


def _shapes(seed: int) -> tuple[_Shape, ...]:
    """Draw the random part of the data; Python's own generators may change with its version, this cannot."""

    def noise(what: str) -> list[int]:
        drawn = shake_256(f"{seed} {what}".encode()).digest(8 * REFERRALS_PER_GROUP)
        return [int.from_bytes(drawn[at : at + 8]) for at in range(0, len(drawn), 8)]

    members = [member for member in range(1, GROUP + 1) for _ in range(referrals_of(member))]
    order = sorted(zip(noise("order"), members, strict=True))
    draws = zip(*map(noise, ("campaign", "product", "channel", "journey", "pace", "retry")), strict=True)
    return tuple(
        _Shape(
            member,
            campaign=1 + campaign % len(CAMPAIGNS),
            product=1 + product % len(PRODUCTS),
            channel=_CHANNELS[channel % len(_CHANNELS)],
            statuses=(statuses := _OF_TWENTY[journey % len(_OF_TWENTY)]),
            pace_us=(1 + pace % _SLOWEST_H) * _HOUR_US,
            payouts=_payouts(statuses, retried=retry % _RETRIED == 0),
        )
        for (_, member), (campaign, product, channel, journey, pace, retry) in zip(order, draws, strict=True)
    )


class Dataset:
    """The rows of a size and a seed, group by group.

    A row follows from its group and its place there. `owner` is the group of a referral's customer. Numbers
    grow evenly with both and texts do not change, so that `Pattern` can make the rows.
    """

    def __init__(self, data: Data) -> None:
        self.groups = CUSTOMERS[data.size] // GROUP
        self._shapes = _shapes(data.seed)
        self._step_us = _SPAN_US // (self.groups * REFERRALS_PER_GROUP)
        self.event_count = sum(len(shape.statuses) for shape in self._shapes)
        self.reward_count = sum(len(_BENEFICIARIES) for shape in self._shapes if shape.payouts)
        self.payout_count = sum(len(_BENEFICIARIES) * len(shape.payouts) for shape in self._shapes)

    def owner(self, group: int, segment: int) -> int:
        """Return the group whose customers made the referrals of this segment of a group."""
        return (group + segment * self.groups // SEGMENTS) % self.groups

    def customers(self, group: int) -> Iterator[Row]:
        """Yield customers, who joined before the first referral."""
        for number in range(group * GROUP + 1, (group + 1) * GROUP + 1):
            tier = "gold" if is_gold(number) else "standard"
            yield (
                number,
                f"c{number}@example.test",
                f"customer {number}",
                tier,
                _FIRST_US - number * 1_000_000,
            )

    def referrals(self, segment: int, group: int, owner: int) -> Iterator[Row]:
        """Yield a segment of a group's referrals."""
        for place in range(segment * IN_SEGMENT, (segment + 1) * IN_SEGMENT):
            shape = self._shapes[place]
            customer = owner * GROUP + shape.member
            friend = f"friend{place:04d}@example.test"
            at_us = self._created_us(group, place)
            yield (
                self._id(group, place),
                customer,
                shape.campaign,
                shape.product,
                friend,
                shape.channel,
                at_us,
            )

    def status_events(self, group: int) -> Iterator[Row]:
        """Yield what became of the group's referrals, at an even pace."""
        for place, shape in enumerate(self._shapes):
            for step, status in enumerate(shape.statuses, 1):
                yield self._id(group, place), step, status, self._reached_us(group, place, step)

    def rewards(self, group: int) -> Iterator[Row]:
        """Yield two for each approved referral, as much as its campaign promises."""
        number = group * self.reward_count
        for place, shape in enumerate(self._shapes):
            if not shape.payouts:
                continue
            granted_us = self._reached_us(group, place, shape.statuses.index("approved") + 1)
            amounts = CAMPAIGNS[shape.campaign - 1][2:4]
            for beneficiary, cents in zip(_BENEFICIARIES, amounts, strict=True):
                number += 1
                yield number, self._id(group, place), beneficiary, cents, granted_us

    def payouts(self, group: int) -> Iterator[Row]:
        """Yield attempts to pay the group's rewards; those of rewarded referrals succeeded in the end."""
        reward = group * self.reward_count
        for place, shape in enumerate(self._shapes):
            # The last state comes with the referral's last status; a failed attempt came an hour before.
            last_us = self._reached_us(group, place, len(shape.statuses))
            for _beneficiary in _BENEFICIARIES if shape.payouts else ():
                reward += 1
                for attempt, state in enumerate(shape.payouts, 1):
                    yield reward, attempt, state, last_us - (len(shape.payouts) - attempt) * _HOUR_US

    def _id(self, group: int, place: int) -> int:
        return group * REFERRALS_PER_GROUP + place + 1

    def _created_us(self, group: int, place: int) -> int:
        return _FIRST_US + (group * REFERRALS_PER_GROUP + place) * self._step_us

    def _reached_us(self, group: int, place: int, step: int) -> int:
        return self._created_us(group, place) + (step - 1) * self._shapes[place].pace_us
