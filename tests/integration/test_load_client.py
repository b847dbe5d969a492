"""The client of the plugin against Locust's own: the same on the wire, the same for the customer."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.load_subject import ROOT

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def compared() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.client_subject"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_a_customer_sees_what_the_stock_client_shows(compared: dict[str, Any]) -> None:
    for setting, stock, ours in zip(compared["settings"], compared["stock"], compared["ours"], strict=True):
        for request, expected, seen in zip(compared["requests"], stock["seen"], ours["seen"], strict=True):
            assert seen == expected, (setting, request)


def test_the_wire_carries_what_the_stock_client_sends(compared: dict[str, Any]) -> None:
    for setting, stock, ours in zip(compared["settings"], compared["stock"], compared["ours"], strict=True):
        assert ours["sent"] == stock["sent"], setting
        assert ours["connections"] == stock["connections"], setting
        assert ours["parallel"] == stock["parallel"], setting


def test_the_shipped_customers_have_the_plugins_client_build_their_requests(compared: dict[str, Any]) -> None:
    assert compared["shipped"].splitlines()[1] == "User-Agent: referrals-app/1.0 (phone 0-1-1)"


def test_more_customers_than_select_can_watch_keep_their_connections(compared: dict[str, Any]) -> None:
    assert compared["connections"] == compared["customers"]


def test_customers_share_one_tls_context(compared: dict[str, Any]) -> None:
    assert compared["contexts"] == 1
