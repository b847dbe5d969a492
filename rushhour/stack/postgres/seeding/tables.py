"""The referrals service's tables as streams of rows for COPY."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from rushhour.scenario.model import Data
from rushhour.stack.postgres.seeding.copy_binary import Kind, Pattern, Row, encode
from rushhour.stack.postgres.seeding.dataset import GROUP, REFERRALS_PER_GROUP
from rushhour.stack.postgres.seeding.rows import CAMPAIGNS, IN_SEGMENT, PRODUCTS, SEGMENTS, Dataset

Piece = tuple[bytes, int]  # rows in COPY's binary format, and how many they are

COLUMNS: Final[dict[str, dict[str, Kind]]] = {
    "products": {"id": "int4", "name": "text", "monthly_price_cents": "int4"},
    "campaigns": {
        "id": "int4",
        "name": "text",
        "customer_reward_cents": "int4",
        "friend_reward_cents": "int4",
        "starts_at": "timestamptz",
    },
    "customers": {
        "id": "int8",
        "email": "text",
        "display_name": "text",
        "tier": "text",
        "created_at": "timestamptz",
    },
    "referrals": {
        "id": "int8",
        "customer_id": "int8",
        "campaign_id": "int4",
        "product_id": "int4",
        "invitee_email": "text",
        "channel": "text",
        "created_at": "timestamptz",
    },
    "status_events": {"referral_id": "int8", "step": "int4", "status": "text", "occurred_at": "timestamptz"},
    "rewards": {
        "id": "int8",
        "referral_id": "int8",
        "beneficiary": "text",
        "amount_cents": "int4",
        "granted_at": "timestamptz",
    },
    "payouts": {"reward_id": "int8", "attempt": "int4", "state": "text", "updated_at": "timestamptz"},
}


@dataclass(frozen=True, slots=True)
class Table:
    """One table's rows; `pieces` makes them anew with each call, piece by piece, so memory stays flat."""

    name: str
    columns: tuple[str, ...]
    row_count: int
    pieces: Callable[[], Iterator[Piece]]


def tables(data: Data) -> tuple[Table, ...]:
    """Return every table, filled for that size and seed."""
    rows = Dataset(data)
    groups = rows.groups
    return (
        _table("products", len(PRODUCTS), _encoded, 1, lambda _: PRODUCTS),
        _table("campaigns", len(CAMPAIGNS), _encoded, 1, lambda _: CAMPAIGNS),
        _table("customers", groups * GROUP, _encoded, groups, rows.customers),
        _table("referrals", groups * REFERRALS_PER_GROUP, _segmented, rows),
        _table(
            "status_events", groups * rows.event_count, _alike, groups, rows.event_count, rows.status_events
        ),
        _table("rewards", groups * rows.reward_count, _alike, groups, rows.reward_count, rows.rewards),
        _table("payouts", groups * rows.payout_count, _alike, groups, rows.payout_count, rows.payouts),
    )


def _table(name: str, row_count: int, pieces: Callable[..., Iterator[Piece]], *arguments: object) -> Table:
    columns = COLUMNS[name]
    return Table(name, tuple(columns), row_count, partial(pieces, tuple(columns.values()), *arguments))


def _encoded(kinds: tuple[Kind, ...], groups: int, rows: Callable[[int], Iterable[Row]]) -> Iterator[Piece]:
    for group in range(groups):
        in_group = tuple(rows(group))
        yield encode(kinds, in_group), len(in_group)


def _alike(
    kinds: tuple[Kind, ...], groups: int, row_count: int, rows: Callable[[int], Iterable[Row]]
) -> Iterator[Piece]:
    pattern = Pattern(kinds, rows)
    for group in range(groups):
        yield pattern.at(group), row_count


def _segmented(kinds: tuple[Kind, ...], rows: Dataset) -> Iterator[Piece]:
    patterns = [Pattern(kinds, partial(rows.referrals, segment), 2) for segment in range(SEGMENTS)]
    for group in range(rows.groups):
        for segment, pattern in enumerate(patterns):
            yield pattern.at(group, rows.owner(group, segment)), IN_SEGMENT
