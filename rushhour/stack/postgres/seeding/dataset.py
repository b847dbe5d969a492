"""Which customers the databases are filled with, and how active each one is: known without a database.

Customers come in groups of a thousand that are alike. Within a group the number of referrals falls with the
customer's rank, as that of real referrals does (Zipf): most customers have none or a few, some have hundreds.
"""

from itertools import accumulate
from random import Random
from typing import Final

CUSTOMERS: Final = {"tiny": 1_000, "small": 10_000, "medium": 100_000, "large": 1_000_000}
GROUP: Final = 1_000

_BY_RANK: Final = tuple(max(0, 2_820 // (rank + 6) - 5) for rank in range(GROUP))
REFERRALS_PER_GROUP: Final = sum(_BY_RANK)  # 10,000
_SPREAD: Final = 37  # shares no factor with GROUP: every rank occurs once, and neighbours differ in rank
_GOLD: Final = 50  # referrals


def referrals_of(customer_id: int) -> int:
    """Return how many referrals a seeded customer has, from 0 to 465; ids start at 1."""
    return _BY_RANK[customer_id * _SPREAD % GROUP]


def is_gold(customer_id: int) -> bool:
    """Whether a seeded customer is of the gold tier: the one in twenty with the most referrals."""
    return referrals_of(customer_id) >= _GOLD


_ACTIVITY: Final = tuple(accumulate(1 + referrals_of(member) for member in range(1, GROUP + 1)))


def draw_customer(random: Random, customers: int) -> int:
    """Return the id of a customer who opens the app: the more referrals, the more often.

    Half of those who come have at least 60 referrals, one in ten has at least 340.

    `customers` is how many there are, a multiple of 1,000 such as `CUSTOMERS[size]`.
    """
    [member] = random.choices(range(1, GROUP + 1), cum_weights=_ACTIVITY)
    return random.randrange(customers // GROUP) * GROUP + member
