"""The locustfiles with stock Locust, and what they say of themselves."""

import argparse
import gc
import importlib.util
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from rushhour.stack.postgres.seeding import dataset
from tests.integration.load_subject import ROOT, Server, serving, wait_for

LOCUSTFILES = sorted((ROOT / "locustfiles").glob("*.py"))


def stock(locustfile: Path, url: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run Locust as its users do, knowing nothing of rushhour."""
    return subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--host", url, *more],
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
        env={"PATH": ""},
        check=False,
    )


@contextmanager
def stock_process(locustfile: Path, url: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """The same, ended by the test; killed if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--host", url, *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={"PATH": ""},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


@pytest.mark.parametrize("locustfile", LOCUSTFILES, ids=lambda path: path.stem)
def test_a_locustfile_runs_with_stock_locust(locustfile: Path) -> None:
    options = ["--users", "20", "--spawn-rate", "20", "--run-time", "60s", "--think-time", "0.1"]
    with serving(Server()) as server, stock_process(locustfile, server.url, *options) as locust:
        wait_for("the list of referrals", lambda: server.counts["GET /customers/:id/referrals"] > 0, 120)
        locust.terminate()
        _, told = locust.communicate(timeout=120)
    assert locust.returncode == 0, told
    assert "rushhour" not in locustfile.read_text().split("import ", 1)[1].split("\n\n\n", 1)[0]


def test_a_bad_setting_is_refused_with_its_name() -> None:
    done = stock(ROOT / "locustfiles/referrals.py", "http://127.0.0.1:1", "--think-time", "0")
    assert done.returncode == 2
    assert "argument --think-time: '0' is not a number above 0" in done.stderr


@pytest.fixture(scope="module")
def referrals() -> ModuleType:
    """The locustfile as a module; without gevent's patches, which would change this very process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
        spec = importlib.util.spec_from_file_location("stock_referrals", ROOT / "locustfiles/referrals.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # pytest rewrites Locust's modules when it first imports them; CPython 3.11 fails to parse one when
        # the garbage collector meanwhile runs a finaliser that prints a traceback: here are none left to run.
        gc.collect()
        spec.loader.exec_module(module)
        return module


@pytest.mark.parametrize(
    ("kind", "text"),
    [("positive", "nan"), ("positive", "-1"), ("whole", "0"), ("share", "1.1"), ("moments", "10,soon")],
)
def test_bad_settings_are_refused(referrals: ModuleType, kind: str, text: str) -> None:
    with pytest.raises((ValueError, argparse.ArgumentTypeError)):
        getattr(referrals, kind)(text)


def test_moments_are_put_in_order(referrals: ModuleType) -> None:
    assert referrals.moments("30, 7.5") == (7.5, 30.0)
    assert referrals.moments("") == ()


def test_the_customers_are_those_that_were_seeded(referrals: ModuleType) -> None:
    for customer_id in range(1, 2 * referrals.GROUP + 1):
        assert referrals.referrals_of(customer_id) == dataset.referrals_of(customer_id)


@pytest.mark.parametrize("customers", [1, 10, 999, 1_000, 10_000])
def test_drawn_customers_exist(referrals: ModuleType, customers: int) -> None:
    rng = random.Random(1)  # noqa: S311  # no secret
    assert all(1 <= referrals.draw_customer(rng, customers) <= customers for _ in range(2_000))


def test_customers_with_many_referrals_come_more_often_and_all_come(referrals: ModuleType) -> None:
    rng = random.Random(1)  # noqa: S311  # no secret
    drawn = Counter(referrals.draw_customer(rng, 1_000) for _ in range(50_000))
    heavy = [number for number in range(1, 1_001) if referrals.referrals_of(number) >= 100]
    assert 0.2 < sum(drawn[number] for number in heavy) / 50_000 < 0.6
    assert len(drawn) > 990


WRITTEN: dict[str, Callable[[list[int]], bytes]] = {
    "by the service": lambda ids: (
        b'{"customer_id":7,"referrals":[%s]}'
        % b", \n ".join(
            b'{"id":%d,"status":"new","rewards":[{"for" : "customer"}]}' % number for number in ids
        )
    ),
    "compactly": lambda ids: json.dumps({"referrals": [{"id": number} for number in ids]}).encode(),
    "in lines": lambda ids: json.dumps({"referrals": [{"id": number} for number in ids]}, indent=2).encode(),
    "with other keys first": lambda ids: json.dumps(
        {"campaign": {"id": 99}, "referrals": [{"campaign": {"id": 99}, "id": number} for number in ids]}
    ).encode(),
    "with keys behind": lambda ids: json.dumps(
        {"referrals": [{"id": number, "campaign": {"id": 99}} for number in ids], "next": [{"id": 99}]}
    ).encode(),
}


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
def test_every_listed_referral_is_drawn_and_nothing_else(
    referrals: ModuleType, write: Callable[[list[int]], bytes]
) -> None:
    rng = random.Random(1)  # noqa: S311  # no secret
    ids = [3, 14, 159, 26_535, 8]
    drawn = Counter(referrals.draw_id(write(ids), rng)[0] for _ in range(2_000))
    assert set(drawn) == set(ids)
    assert min(drawn.values()) > 50  # as likely as the referral before it is long
    assert referrals.draw_id(write([]), rng) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"referrals":[{"id":1}',
        b'{"referrals":[{}]}',
        b'{"referrals":7}',
        None,
    ],
)
def test_a_list_that_cannot_be_read_raises(referrals: ModuleType, body: bytes | None) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        referrals.draw_id(body, random.Random(1))  # noqa: S311  # no secret
