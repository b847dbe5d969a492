"""What a drill hands to `docker stack deploy`, and how containers' pids are told apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from rushhour.errors import UsageError
from rushhour.rundir.facts import ServiceState
from rushhour.scenario.file import load_scenarios
from rushhour.stack.compose.images import Image
from rushhour.stack.fleet import SIBLINGS, Plan
from rushhour.stack.swarm.files import PROBE, Fixed, stack_file
from rushhour.stack.swarm.tasks import host_ports

ROOT = Path(__file__).parents[2]
IMAGE = Image("rushhour/referrals:1.1", "sha256:1", "/srv", {}, None)
SCENARIO = load_scenarios(ROOT / "scenarios.yaml").select(["smoke-leak"])[0]


def stack(*siblings: str, servers_only: bool = False) -> dict[str, Any]:
    ports = {name: 20_000 + number for number, name in enumerate(("primary", "replica", *siblings))}
    text = stack_file(
        ROOT / "infra/stack.yaml", SCENARIO, IMAGE, "p$w", Fixed(ports), servers_only=servers_only
    )
    made: dict[str, Any] = json.loads(text)
    return made


def test_as_many_siblings_as_were_asked_for() -> None:
    assert list(stack("accounts", "audit")["services"]) == [
        *("primary", "replica", "referrals", "accounts", "audit")
    ]
    assert list(stack("accounts", servers_only=True)["services"]) == ["primary", "replica"]


def test_every_sibling_that_can_be_asked_for_is_in_the_file() -> None:
    assert set(stack(*SIBLINGS)["services"]) == {"primary", "replica", "referrals", *SIBLINGS}


def test_every_service_has_no_virtual_ip_and_host_mode_ports() -> None:
    for name, item in stack("accounts")["services"].items():
        assert item["deploy"]["endpoint_mode"] == "dnsrr"
        [port] = item["ports"]
        assert port["mode"] == "host"
        assert ("published" in port) == (name != "referrals")  # a start-first update needs a second one


def test_only_the_target_carries_the_agent_and_its_image_says_the_release() -> None:
    services = stack("accounts")["services"]
    target, sibling = services["referrals"]["environment"], services["accounts"]["environment"]
    assert target["RUSHHOUR_AGENT_DIR"] == "/rushhour/pools/{{.Task.ID}}"
    assert not {"RUSHHOUR_AGENT_DIR", "PYTHONPATH"} & set(sibling)
    assert "REFERRALS_RELEASE" not in {*target, *sibling}
    assert sibling["REFERRALS_POOL_SIZE"] == "1"
    assert "p$$w@replica:5432" in target["REFERRALS_REPLICA_URL"]  # a dollar sign is no variable


def test_the_probe_needs_no_connection_of_the_pool_once_it_was_healthy() -> None:
    """Else Swarm would replace the exhausted service before anybody gives a command."""
    target = stack("accounts")["services"]["referrals"]
    assert target["healthcheck"]["test"] == ["CMD", PROBE, "8000", "/health"]
    assert any(volume.endswith("/docker:/rushhour/docker:ro") for volume in target["volumes"])


def test_a_bad_hotfix_is_rolled_back_by_the_swarm() -> None:
    update = stack("accounts")["services"]["referrals"]["deploy"]["update_config"]
    assert (update["order"], update["failure_action"], update["max_failure_ratio"]) == (
        *("start-first", "rollback", 0),
    )


@pytest.mark.parametrize("siblings", [0, len(SIBLINGS) + 1])
def test_no_more_siblings_than_there_are(siblings: int) -> None:
    with pytest.raises(UsageError):
        _ = Plan("update", "1.1.1", siblings).names


@pytest.mark.parametrize(
    ("image", "mutable"),
    [("shop/app:1.1", True), ("shop/app:1.1@sha256:ab", False), ("sha256:ab", False)],
)
def test_a_tag_may_move_a_digest_not(image: str, mutable: bool) -> None:
    assert ServiceState("a", "1", 1, "s", image, ()).mutable is mutable


def test_a_port_published_for_both_address_families_counts_once() -> None:
    port = {"PublishedPort": 32768, "PublishMode": "host"}
    assert host_ports({"Status": {"PortStatus": {"Ports": [port, port]}}}) == [32768]
    assert host_ports({"Status": {"PortStatus": {}}}) == []
