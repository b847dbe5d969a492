"""The seeded data: the same everywhere, skewed, and consistent in itself."""

import hashlib
from collections import Counter, defaultdict
from functools import partial
from itertools import pairwise
from random import Random

import pytest

from rushhour.scenario.model import SIZES, Data
from rushhour.stack.postgres.seeding.copy_binary import Pattern, encode
from rushhour.stack.postgres.seeding.dataset import (
    CUSTOMERS,
    GROUP,
    REFERRALS_PER_GROUP,
    draw_customer,
    is_gold,
    referrals_of,
)
from rushhour.stack.postgres.seeding.rows import SEGMENTS, Dataset
from rushhour.stack.postgres.seeding.tables import COLUMNS, tables

SMALL = Data(size="small", seed=1)


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311  # draws customers, not secrets


def digest(data: Data) -> str:
    """A hash over all that would be sent to the server."""
    found = hashlib.sha256()
    for table in tables(data):
        found.update(f"{table.name} {table.columns}".encode())
        for piece, _ in table.pieces():
            found.update(piece)
    return found.hexdigest()[:16]


def all_referrals(data: Data) -> list[tuple[int | str, ...]]:
    dataset = Dataset(data)
    return [
        row
        for group in range(dataset.groups)
        for segment in range(SEGMENTS)
        for row in dataset.referrals(segment, group, dataset.owner(group, segment))
    ]


class TestTheSameEverywhere:
    @pytest.mark.parametrize(
        ("size", "expected"), [("tiny", "205e36a64c697827"), ("small", "8462145fe74f118c")]
    )
    def test_bytes_do_not_depend_on_machine_or_python(self, size: str, expected: str) -> None:
        assert digest(Data(size=size, seed=1)) == expected

    def test_another_seed_is_other_data(self) -> None:
        assert digest(Data(size="tiny", seed=2)) != digest(Data(size="tiny", seed=1))

    def test_pieces_can_be_made_again(self) -> None:
        [customers] = [table for table in tables(SMALL) if table.name == "customers"]
        assert list(customers.pieces()) == list(customers.pieces())


class TestPatterns:
    """The fast way makes the same bytes as the plain one."""

    @pytest.mark.parametrize("name", ["status_events", "rewards", "payouts"])
    def test_tables_that_follow_their_group(self, name: str) -> None:
        kinds, rows = tuple(COLUMNS[name].values()), getattr(Dataset(SMALL), name)
        pattern = Pattern(kinds, rows)
        for group in (0, 1, 2, 9, 4, 999):  # in order, with leaps, and back
            assert pattern.at(group) == encode(kinds, rows(group))

    def test_referrals_that_follow_their_owner_too(self) -> None:
        dataset, kinds = Dataset(SMALL), tuple(COLUMNS["referrals"].values())
        for segment in (0, 7, SEGMENTS - 1):
            rows = partial(dataset.referrals, segment)
            pattern = Pattern(kinds, rows, 2)
            for group in range(dataset.groups):
                owner = dataset.owner(group, segment)
                assert pattern.at(group, owner) == encode(kinds, rows(group, owner))

    def test_a_field_that_outgrows_its_width_is_refused(self) -> None:
        with pytest.raises(OverflowError):
            encode(("int4",), [(2**32,)])


class TestSizes:
    def test_every_size_of_a_scenario_is_known(self) -> None:
        assert set(CUSTOMERS) == set(SIZES)

    @pytest.mark.parametrize("size", SIZES)
    def test_rows_of_each_size(self, size: str) -> None:
        counts = {table.name: table.row_count for table in tables(Data(size=size))}
        assert counts["customers"] == CUSTOMERS[size]
        assert counts["referrals"] == 10 * CUSTOMERS[size]
        assert 3 <= counts["status_events"] / counts["referrals"] <= 4

    def test_counts_are_those_of_the_pieces(self) -> None:
        for table in tables(SMALL):
            assert table.row_count == sum(count for _, count in table.pieces())


class TestSkew:
    def test_most_customers_have_few_referrals_and_some_have_hundreds(self) -> None:
        counts = sorted(map(referrals_of, range(1, GROUP + 1)))
        assert sum(counts) == REFERRALS_PER_GROUP
        assert counts[GROUP // 2] <= 2
        assert counts[int(GROUP * 0.9)] < 30
        assert sum(count >= 100 for count in counts) == 21
        assert 400 < counts[-1] <= 500

    def test_groups_are_alike(self) -> None:
        assert [referrals_of(n) for n in range(1, GROUP + 1)] == [
            referrals_of(n) for n in range(7 * GROUP + 1, 8 * GROUP + 1)
        ]

    def test_the_rows_hold_what_referrals_of_says(self) -> None:
        held = Counter(row[1] for row in all_referrals(SMALL))
        assert dict(held) == {
            customer: count for customer in range(1, 10_001) if (count := referrals_of(customer))
        }

    def test_drawn_customers_are_as_active_as_they_have_referrals(self) -> None:
        random, draws = seeded(7), 20_000
        drawn = [draw_customer(random, 10_000) for _ in range(draws)]
        assert all(1 <= customer <= 10_000 for customer in drawn)
        share = sum(map(is_gold, drawn)) / draws
        weight = {customer: 1 + referrals_of(customer) for customer in range(1, GROUP + 1)}
        expected = sum(weight[customer] for customer in weight if is_gold(customer)) / sum(weight.values())
        assert share == pytest.approx(expected, abs=0.02)  # six standard deviations
        assert len({(customer - 1) // GROUP for customer in drawn}) == 10

    def test_drawing_repeats_with_its_random(self) -> None:
        first, second = seeded(3), seeded(3)
        assert [draw_customer(first, 1000) for _ in range(50)] == [
            draw_customer(second, 1000) for _ in range(50)
        ]


class TestConsistency:
    def test_referrals_stand_in_order_of_time_and_a_customers_own_are_scattered(self) -> None:
        referrals = all_referrals(SMALL)
        assert [row[0] for row in referrals] == list(range(1, len(referrals) + 1))
        assert all(before[-1] < after[-1] for before, after in pairwise(referrals))  # type: ignore[operator]
        busiest = Counter(row[1] for row in referrals).most_common(1)[0][0]
        tenths = {row[0] * 10 // len(referrals) for row in referrals if row[1] == busiest}  # type: ignore[operator]
        assert len(tenths) >= 9

    @pytest.mark.parametrize("group", [0, 3])
    def test_statuses_rewards_and_payouts_fit_together(self, group: int) -> None:
        dataset = Dataset(SMALL)
        statuses: dict[int, list[str]] = defaultdict(list)
        times: dict[int, list[int]] = defaultdict(list)
        for referral, step, status, at_us in dataset.status_events(group):
            statuses[referral].append(status)  # type: ignore[index, arg-type]
            times[referral].append(at_us)  # type: ignore[index, arg-type]
            assert step == len(statuses[referral])  # type: ignore[index]
        assert set(statuses) == set(range(group * 10_000 + 1, (group + 1) * 10_000 + 1))
        assert all(found[0] == "invited" for found in statuses.values())
        assert all(found == sorted(set(found)) for found in times.values())

        rewards = {row[0]: row for row in dataset.rewards(group)}
        rewarded = Counter(row[1] for row in rewards.values())
        approved = {referral for referral, found in statuses.items() if "approved" in found}
        assert rewarded == dict.fromkeys(approved, 2)
        assert all(row[3] > 0 for row in rewards.values())  # type: ignore[operator]

        states: dict[int, list[str]] = defaultdict(list)
        for reward, attempt, state, _ in dataset.payouts(group):
            states[reward].append(state)  # type: ignore[index, arg-type]
            assert attempt == len(states[reward])  # type: ignore[index]
        assert set(states) == set(rewards)
        for reward, found in states.items():
            paid = statuses[rewards[reward][1]][-1] == "rewarded"  # type: ignore[index]
            assert found in ([["paid"], ["failed", "paid"]] if paid else [["scheduled"]])
        assert ["failed", "paid"] in states.values()
