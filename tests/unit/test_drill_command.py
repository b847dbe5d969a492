"""What `rushhour drill hotfix` plans for each way of bringing a hotfix."""

from pathlib import Path

import pytest

from rushhour.errors import UsageError
from rushhour.jobs.drill.command import DrillOptions

ROOT = Path(__file__).parents[2]


def options(stack: str, *by: str) -> DrillOptions:
    return DrillOptions(
        by=by,
        stack=stack,
        services=3,
        scenario="smoke-leak",
        release="1.1",
        hotfix="1.1.1",
        hotfix_image=None,
        image=None,
        users=None,
        duration=60.0,
        scenarios=ROOT / "scenarios.yaml",
        runs=Path("runs"),
    )


@pytest.mark.parametrize("stack", ["embedded", "swarm"])
def test_a_rollback_goes_back_and_every_other_way_brings_the_hotfix(stack: str) -> None:
    chosen = options(stack, "all")
    brought = {by: chosen.plan(by)[1].hotfix for by in chosen.ways}
    assert brought.pop("rollback") == "1.0"
    assert set(brought.values()) == {"1.1.1"}
    scenario, plan = chosen.plan("rollback")
    assert (scenario.release, plan.siblings) == ("1.1", 3)


def test_the_embedded_stack_has_two_ways() -> None:
    assert options("embedded", "all").ways == ("update", "rollback")
    assert options("swarm", "all").ways == ("update", "rollback", "stack-deploy")
    with pytest.raises(UsageError, match="stack-deploy is Docker's"):
        options("embedded", "stack-deploy").plan("stack-deploy")
