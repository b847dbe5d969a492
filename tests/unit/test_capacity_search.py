"""The search for a knee, on a stepper whose knee is known."""

import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.capacity import knee_of_sweep
from rushhour.jobs.capacity.climb import Times, search
from rushhour.jobs.capacity.facts import Knee, Outcome, Search, Step
from rushhour.jobs.capacity.search import (
    MOST_STEPS,
    MOST_VOTES,
    Plan,
    bracket,
    knee_of,
    next_step,
    steps_left,
)
from rushhour.jobs.capacity.words import judged, sentence
from rushhour.scenario.arrivals import parse_capacity

BEHAVES = Callable[[float], Outcome]


def steps_of(behaves: BEHAVES, plan: Plan) -> list[Step]:
    """Run a whole search on a stepper that says what each rate does."""
    steps: list[Step] = []
    while (step := next_step(steps, plan)) is not None:
        assert len(steps) < MOST_STEPS, [(each.rate, each.outcome) for each in steps]
        steps.append(made(step.rate, behaves(step.rate)))
    return steps


def made(rate: float, outcome: Outcome) -> Step:
    return Step(rate, outcome, f"at-{rate:g}", (f"{outcome} at {rate:g}",))


def sharp(knee: float) -> BEHAVES:
    return lambda rate: "holds" if rate <= knee else "gives"


def noisy(knee: float, width: float, seed: int) -> BEHAVES:
    """Near the knee a step holds or gives by chance: a normal distribution around it, on a log scale."""
    rng = random.Random(seed)  # noqa: S311  # no secret
    return lambda rate: "holds" if math.log(rate / knee) < rng.gauss(0, width) else "gives"


@given(st.floats(0.5, 1500))
def test_a_sharp_knee_is_bracketed_and_confirmed_on_both_sides(at: float) -> None:
    plan = Plan()
    steps = steps_of(sharp(at), plan)
    knee = knee_of(steps, plan)
    assert knee.kind == "knee"
    assert knee.confirmed
    assert knee.low is not None
    assert knee.high is not None
    assert knee.low <= at < knee.high
    assert knee.high / knee.low <= 1 + plan.precision + 0.01
    assert len(steps) <= 24


def test_the_knee_of_a_gate_is_found_within_fourteen_steps() -> None:
    # Fourteen steps of forty seconds fit into a quarter of an hour on two cores.
    assert max(len(steps_of(sharp(at), Plan())) for at in (8, 20, 47, 60, 90, 120)) <= 14


@given(st.integers(0, 10_000), st.sampled_from([5.0, 47.0, 200.0]))
def test_a_noisy_knee_is_found_nearby_and_the_search_ends(seed: int, at: float) -> None:
    plan = Plan()
    knee = knee_of(steps_of(noisy(at, 0.03, seed), plan), plan)
    assert knee.kind == "knee"
    assert knee.rate == pytest.approx(at, rel=0.25)


def test_two_noisy_searches_mostly_agree() -> None:
    plan, agreed = Plan(), 0
    for seed in range(200):
        first, second = (
            knee_of(steps_of(noisy(47, 0.02, 2 * seed + number), plan), plan) for number in (0, 1)
        )
        assert first.low is not None
        assert first.high is not None
        assert second.low is not None
        assert second.high is not None
        agreed += first.low <= second.high and second.low <= first.high
    assert agreed >= 190


def test_a_repeat_that_disagrees_is_repeated_and_the_majority_counts() -> None:
    plan = Plan(start=40, growth=1.1, precision=0.10)
    steps = [made(40, "holds"), made(44, "gives"), made(40, "gives")]
    step = next_step(steps, plan)
    assert step is not None
    assert step.rate < 40  # one of two: not a rate that holds
    steps = [made(36.4, "holds"), made(36.4, "holds"), made(40, "gives"), made(40, "holds")]
    step = next_step(steps, plan)
    assert step is not None
    assert (step.rate, bracket(steps)) == (40, (36.4, 40))
    assert bracket([*steps, made(40, "holds")]) == (40, None)


def test_without_a_knee_the_search_climbs_to_what_may_be_tried() -> None:
    plan = Plan(most=100.0)
    steps = steps_of(lambda _: "holds", plan)
    knee = knee_of(steps, plan)
    assert knee.kind == "at least"
    assert knee.low is not None
    assert knee.low == 100
    assert [step.rate for step in steps] == [5, 8, 12.8, 20.5, 32.8, 52.5, 84, 100, 100]
    assert knee.why == "no higher rate was to be tried"
    assert knee.confirmed
    assert steps_left(steps[:-1], plan) == 1
    assert steps_left(steps, plan) == 0


def test_a_generator_that_is_the_limit_makes_it_at_least() -> None:
    plan = Plan()
    knee = knee_of(steps_of(lambda rate: "holds" if rate < 60 else "generator", plan), plan)
    assert knee.kind == "at least"
    assert knee.low is not None
    assert 45 < knee.low < 60
    assert "load generator" in knee.why
    assert knee.confirmed


def test_a_rate_below_the_generator_s_limit_that_held_once_by_chance_is_not_the_answer() -> None:
    seen: list[float] = []

    def behaves(rate: float) -> Outcome:
        seen.append(rate)
        if rate > 60:
            return "generator"
        return "holds" if rate < 40 or seen.count(rate) == 1 else "gives"

    knee = knee_of(steps_of(behaves, Plan()), Plan())
    assert knee.kind == "knee"
    assert knee.high is not None
    assert knee.high < 60


def test_a_generator_that_keeps_a_rate_only_once_leaves_it_unconfirmed() -> None:
    seen: list[float] = []

    def behaves(rate: float) -> Outcome:
        seen.append(rate)
        return "holds" if rate < 60 and seen.count(rate) == 1 else "generator"

    plan = Plan()
    steps = steps_of(behaves, plan)
    found = Search("gate", "1.1.1", "embedded", tuple(steps), knee_of(steps, plan), 1.0, 10.0, 20.0)
    assert (found.knee.kind, found.knee.low_votes, found.knee.confirmed) == ("at least", (1, 1), False)
    assert "; not confirmed: held in 1 of 1 step at" in sentence(found)
    assert judged(found, None)[0] == "unknown"
    assert judged(found, parse_capacity(f">= {found.knee.low}/s"))[0] == "unknown"
    assert judged(found, parse_capacity(">= 5/s"))[0] == "pass"  # several steps held above that


def test_a_generator_that_fails_once_is_asked_again() -> None:
    seen: list[float] = []

    def behaves(rate: float) -> Outcome:
        seen.append(rate)
        return "generator" if seen.count(rate) == 1 and rate > 10 else "holds" if rate < 47 else "gives"

    knee = knee_of(steps_of(behaves, Plan()), Plan())
    assert knee.kind == "knee"
    assert knee.confirmed


def test_a_generator_that_keeps_no_rate_is_unknown() -> None:
    plan = Plan()
    knee = knee_of(steps_of(lambda _: "generator", plan), plan)
    assert (knee.kind, knee.why) == ("unknown", "the load generator could not keep any rate")


def test_a_generator_that_fails_by_chance_does_not_keep_the_search_going() -> None:
    def behaves(rate: float) -> Outcome:
        return "generator" if 45 < rate < 49 else "holds" if rate < 47 else "gives"

    knee = knee_of(steps_of(behaves, Plan()), Plan())
    assert knee.kind == "knee"


def test_a_leak_ends_the_search_at_once_and_is_named() -> None:
    plan = Plan()
    steps = steps_of(lambda _: "leaks", plan)
    assert len(steps) == 1
    knee = knee_of(steps, plan)
    assert (knee.kind, knee.why) == ("leak", "leaks at 5")


def test_a_service_that_holds_at_no_rate_is_below() -> None:
    plan = Plan()
    steps = steps_of(lambda _: "gives", plan)
    knee = knee_of(steps, plan)
    assert (knee.kind, knee.low) == ("below", None)
    assert min(step.rate for step in steps) < 0.4


def test_two_steps_that_say_nothing_end_the_search() -> None:
    plan = Plan()
    steps = steps_of(lambda rate: "holds" if rate < 10 else "unknown", plan)
    assert [step.outcome for step in steps] == ["holds", "holds", "unknown", "unknown"]
    knee = knee_of(steps, plan)
    assert (knee.kind, knee.low, knee.why) == ("at least", 8.0, "unknown at 12.8")


def test_a_step_that_says_nothing_is_repeated_once() -> None:
    seen: list[float] = []

    def behaves(rate: float) -> Outcome:
        seen.append(rate)
        return "unknown" if seen.count(rate) == 1 else "holds" if rate < 47 else "gives"

    assert knee_of(steps_of(behaves, Plan()), Plan()).confirmed


@given(st.integers(0, 100_000))
def test_every_search_ends_whatever_the_steps_say(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # no secret
    outcomes: Sequence[Outcome] = ("holds", "holds", "gives", "gives", "generator", "unknown")
    steps = steps_of(lambda _: rng.choice(outcomes), Plan(most=500.0))
    knee_of(steps, Plan())
    rates = [step.rate for step in steps]
    assert max(map(rates.count, rates)) <= MOST_VOTES + 2


def test_the_steps_that_are_left_shrink_to_none() -> None:
    plan = Plan()
    steps = steps_of(sharp(47), plan)
    left = [steps_left(steps[:number], plan) for number in range(len(steps) + 1)]
    assert left[-1] == 0
    assert left[-2] == 1
    assert max(left) <= 10


FIRST = Search("gate", "1.1.1", "embedded", (), Knee("unknown"), 1.0, 10.0, 20.0)


def test_the_budget_ends_the_search_and_what_was_found_stays() -> None:
    clock, said = [0.0], list[str]()

    def run_step(rate: float, _: float) -> Step:
        clock[0] += 40
        return made(rate, sharp(47)(rate))

    times = Times(step_s=20, warm_up_s=12, budget_s=250)
    *_, last = search(FIRST, Plan(), times, run_step, say=said.append, now_s=lambda: clock[0])
    assert len(last.steps) == 6
    assert clock[0] <= 250
    assert last.knee.kind == "knee"
    assert not last.knee.confirmed
    assert "the time of 4.17 min was over" in sentence(last)
    assert "min left" in said[0]
    assert judged(last, None)[0] == "unknown"


def test_an_interrupt_keeps_what_was_found() -> None:
    def run_step(rate: float, _: float) -> Step:
        if rate > 10:
            raise KeyboardInterrupt
        return made(rate, "holds")

    found = list(search(FIRST, Plan(), Times(), run_step, say=lambda _: None, now_s=lambda: 0.0))
    assert [len(each.steps) for each in found] == [1, 2, 2]
    assert found[-1].interrupted
    assert (found[-1].knee.kind, found[-1].knee.low) == ("at least", 8.0)
    assert judged(found[-1], None)[0] == "unknown"


def ended(knee: Knee) -> Search:
    """A search that ended with this knee, after the steps that are its votes."""
    sides: list[tuple[float | None, int, Outcome]] = [
        (knee.low, knee.low_votes[0], "holds"),
        (knee.high, knee.high_votes[0], "gives"),
    ]
    steps = [made(rate, outcome) for rate, count, outcome in sides for _ in range(count) if rate is not None]
    return Search("gate", "1.1.1", "embedded", tuple(steps), knee, 1.0, 10.0, 20.0)


@pytest.mark.parametrize(
    ("knee", "verdict"),
    [
        (Knee("knee", 60, 66, (2, 2), (2, 2)), "pass"),
        (Knee("knee", 60, 66, (1, 1), (2, 2)), "unknown"),
        (Knee("knee", 57, 63, (2, 2), (2, 2)), "unknown"),
        (Knee("knee", 54, 60, (2, 2), (2, 2)), "fail"),
        (Knee("knee", 54, 60, (2, 2), (1, 1)), "unknown"),
        (Knee("at least", 70, None, (1, 1)), "unknown"),
        (Knee("at least", 70, None, (2, 2)), "pass"),
        (Knee("at least", 70, None, (1, 1), cut_short=True), "unknown"),
        (Knee("at least", 70, None, (2, 2), cut_short=True), "pass"),
        (Knee("at least", 50), "unknown"),
        (Knee("below", None, 20, (0, 0), (1, 1)), "unknown"),
        (Knee("below", None, 20, (0, 0), (2, 2)), "fail"),
        (Knee("leak", None, 5), "fail"),
        (Knee("unknown"), "unknown"),
    ],
)
def test_an_expected_capacity_gates(knee: Knee, verdict: str) -> None:
    bound = parse_capacity(">= 60/s")
    assert judged(ended(knee), bound)[0] == verdict


@pytest.mark.parametrize(
    ("rates", "verdict"), [((60, 66), "pass"), ((52, 66), "unknown"), ((52, 57), "unknown")]
)
def test_two_steps_at_the_expected_rate_or_above_are_enough(rates: tuple[float, ...], verdict: str) -> None:
    steps = [*(made(rate, "holds") for rate in rates), made(70, "gives")]
    found = Search("gate", "1.1.1", "embedded", tuple(steps), knee_of(steps, Plan()), 1.0, 10.0, 20.0)
    assert judged(found, parse_capacity(">= 60/s"))[0] == verdict


@pytest.mark.parametrize(
    ("rates", "verdict"), [((60, 52), "fail"), ((66, 52), "unknown"), ((52,), "unknown")]
)
def test_two_steps_that_gave_way_at_the_expected_rate_or_below_are_enough(
    rates: tuple[float, ...], verdict: str
) -> None:
    steps = [made(40, "holds"), *(made(rate, "gives") for rate in rates)]
    found = Search("gate", "1.1.1", "embedded", tuple(steps), knee_of(steps, Plan()), 1.0, 10.0, 20.0)
    assert judged(found, parse_capacity(">= 60/s"))[0] == verdict


@pytest.mark.parametrize(
    ("knee", "verdict"),
    [
        (Knee("knee", 60, 66, (2, 2), (2, 2)), "pass"),
        (Knee("knee", 60, 66, (1, 1), (2, 2)), "unknown"),
        (Knee("at least", 70, None, (2, 2)), "pass"),
        (Knee("at least", 70, None, (1, 1)), "unknown"),
        (Knee("at least", 70, None, (2, 2), cut_short=True), "unknown"),
        (Knee("below", None, 20, (0, 0), (1, 1)), "unknown"),
        (Knee("below", None, 20, (0, 0), (2, 2)), "fail"),
        (Knee("leak", None, 5), "fail"),
    ],
)
def test_without_an_expectation_the_answer_itself_is_judged(knee: Knee, verdict: str) -> None:
    assert judged(ended(knee), None)[0] == verdict


def test_an_answer_that_was_cut_short_says_so() -> None:
    plan = Plan()
    assert knee_of([made(5, "holds"), made(8, "holds")], plan, ended="the time was over").cut_short
    assert knee_of(steps_of(lambda rate: "holds" if rate < 10 else "unknown", plan), plan).cut_short
    assert not knee_of(steps_of(lambda _: "holds", Plan(most=50)), Plan(most=50)).cut_short


@pytest.mark.parametrize("text", ["60/s", ">= 60", "> 60/s", ">= 0/s", "<= 60/s", ">= many/s", "", 60])
def test_what_is_no_capacity_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"rate|capacity"):
        parse_capacity(text)


def test_the_knee_of_a_sweep_lies_below_the_first_rate_that_gave_way() -> None:
    rates = [40.0, 45.0, 50.0, 55.0]
    yes, no, unknown = (True, True), (True, False), (True, None)
    assert knee_of_sweep(rates, [yes, yes, no, yes]) == (45.0, 50.0)
    assert knee_of_sweep(rates, [yes, unknown, no, no]) == (40.0, 50.0)
    assert knee_of_sweep(rates, [no, yes, yes, yes]) is None
    assert knee_of_sweep(rates, [yes, yes, yes, yes]) is None
