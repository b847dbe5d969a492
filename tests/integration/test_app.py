"""The referrals service on real PostgreSQL: its endpoints, its schema, its leak."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import QueuePool, create_engine, make_url

from app import create_app
from app.config import Config
from app.connectors import Connectors
from app.models import Base
from app.releases import RELEASES
from rushhour.scenario.model import Data
from rushhour.stack.postgres.bare import BareServer
from rushhour.stack.postgres.seeding import seed
from rushhour.stack.postgres.seeding.dataset import referrals_of
from tests.integration.fresh_database import SCHEMA, FreshDatabase, fresh_database

CUSTOMERS = 1_000
NOBODY = CUSTOMERS + 1
WITHOUT_REFERRALS = next(customer for customer in range(1, CUSTOMERS) if referrals_of(customer) == 0)
HEAVIEST = max(range(1, CUSTOMERS + 1), key=referrals_of)
INVITATION = {"campaign_id": 1, "product_id": 2, "invitee_email": "invitee@example.test"}


@pytest.fixture(scope="module")
def database(pg: BareServer) -> Iterator[FreshDatabase]:
    """A database with the tiny data. It stands for primary and replica, which hold the same."""
    with fresh_database(pg) as fresh:
        seed.fill(fresh.dsn, SCHEMA, Data(size="tiny"), lambda *_: None)
        yield fresh


@contextmanager
def service(database: FreshDatabase, **settings: Any) -> Iterator[Flask]:
    app = create_app(Config(database.url, database.url, secret="for tests", **settings))
    yield app
    connectors = Connectors.of(app)
    for connector in (connectors.primary, connectors.replica):
        connector.release()
        connector.engine.dispose()


@pytest.fixture(params=list(RELEASES))
def client(request: pytest.FixtureRequest, database: FreshDatabase) -> Iterator[FlaskClient]:
    with service(database, release=request.param) as app:
        yield app.test_client()


def held(app: Flask) -> tuple[int, int]:
    """Connections that are out, of primary and replica."""
    connectors = Connectors.of(app)
    pools = connectors.primary.engine.pool, connectors.replica.engine.pool
    assert isinstance(pools[0], QueuePool)
    assert isinstance(pools[1], QueuePool)
    return pools[0].checkedout(), pools[1].checkedout()


class TestEndpoints:
    """The same in every release."""

    def test_health(self, client: FlaskClient) -> None:
        answer = client.get("/health")
        assert (answer.status_code, answer.json) == (
            200,
            {"status": "ok", "primary": "ok", "replica": "ok"},
        )
        assert held(client.application) == (0, 0)

    def test_log_in_and_the_token(self, client: FlaskClient) -> None:
        answer = client.post("/login", json={"customer_id": 7})
        assert answer.status_code == 200
        assert answer.json is not None
        assert answer.json["display_name"] == "customer 7"
        token = {"Authorization": f"Bearer {answer.json['token']}"}
        assert client.get("/customers/7/summary", headers=token).status_code == 200
        assert client.get("/customers/7/referrals", headers=token).status_code == 200
        assert client.get("/customers/8/referrals", headers=token).status_code == 403
        others = client.get("/customers/1/referrals").json
        assert others is not None
        path = f"/referrals/{others['referrals'][0]['id']}"
        assert client.get(path, headers=token).status_code == 403

    def test_summary(self, client: FlaskClient, database: FreshDatabase) -> None:
        [(count, newest)] = database.rows(
            "SELECT count(*), max(created_at) FROM referrals WHERE customer_id = 3"
        )
        answer = client.get("/customers/3/summary").json
        assert answer is not None
        assert datetime.fromisoformat(answer.pop("newest_referral_at")) == newest
        assert answer == {
            "customer_id": 3,
            "display_name": "customer 3",
            "tier": "standard",
            "referrals": count,
        }

    def test_the_list_is_whole_and_newest_first(self, client: FlaskClient, database: FreshDatabase) -> None:
        answer = client.get(f"/customers/{HEAVIEST}/referrals").json
        assert answer is not None
        listed = answer["referrals"]
        assert len(listed) == referrals_of(HEAVIEST)
        expected = database.rows(
            "SELECT id FROM referrals WHERE customer_id = %s ORDER BY created_at DESC, id DESC", HEAVIEST
        )
        assert [item["id"] for item in listed] == [id_ for (id_,) in expected]
        assert {item["status"] for item in listed} == {
            "invited",
            "opened",
            "applied",
            "rejected",
            "approved",
            "rewarded",
        }
        for item in listed:
            assert item["timeline"][-1] == {"status": item["status"], "at": item["status_since"]}
            rewarded = item["status"] in ("approved", "rewarded")
            assert [reward["for"] for reward in item["rewards"] or ()] == ["customer", "friend"] * rewarded
            states = {reward["payout"] for reward in item["rewards"] or ()}
            assert states == ({"approved": {"scheduled"}, "rewarded": {"paid"}}.get(item["status"], set()))

    def test_sums_in_the_list(self, client: FlaskClient, database: FreshDatabase) -> None:
        [(earned,)] = database.rows(
            "SELECT sum(amount_cents) FROM rewards JOIN referrals ON referrals.id = referral_id"
            " WHERE customer_id = %s AND beneficiary = 'customer'",
            HEAVIEST,
        )
        answer = client.get(f"/customers/{HEAVIEST}/referrals").json
        assert answer is not None
        listed = answer["referrals"]
        assert listed[0]["earned_so_far_cents"] == earned
        by_campaign = {item["campaign"]: item["earned_in_campaign_cents"] for item in listed}
        assert sum(cents or 0 for cents in by_campaign.values()) == earned
        for campaign in by_campaign:
            numbers = [item["number_in_campaign"] for item in listed if item["campaign"] == campaign]
            assert numbers == list(range(len(numbers), 0, -1))

    def test_a_customer_without_referrals(self, client: FlaskClient) -> None:
        answer = client.get(f"/customers/{WITHOUT_REFERRALS}/referrals")
        assert (answer.status_code, answer.json) == (
            200,
            {"customer_id": WITHOUT_REFERRALS, "referrals": []},
        )
        summary = client.get(f"/customers/{WITHOUT_REFERRALS}/summary").json
        assert summary is not None
        assert (summary["referrals"], summary["newest_referral_at"]) == (0, None)

    def test_an_invitation_is_stored_and_seen(self, client: FlaskClient, database: FreshDatabase) -> None:
        answer = client.post(f"/customers/{WITHOUT_REFERRALS}/referrals", json=INVITATION)
        assert answer.status_code == 201
        assert answer.json is not None
        stored = answer.json
        try:
            assert stored["customer_id"] == WITHOUT_REFERRALS
            assert (stored["campaign"], stored["product"]) == ("campaign 1", "product 2")
            assert (stored["status"], len(stored["timeline"])) == ("invited", 1)
            assert client.get(f"/referrals/{stored['id']}").json == stored
            listed = client.get(f"/customers/{WITHOUT_REFERRALS}/referrals").json
            assert listed is not None
            [referral] = listed["referrals"]
            assert (referral["id"], referral["status"], referral["rewards"]) == (
                stored["id"],
                "invited",
                None,
            )
        finally:
            Connectors.of(client.application).replica.release()
            database.rows("DELETE FROM status_events WHERE referral_id = %s", stored["id"])
            database.rows("DELETE FROM referrals WHERE id = %s", stored["id"])

    @pytest.mark.parametrize(
        ("method", "path", "body", "error"),
        [
            ("POST", "/login", {"customer_id": NOBODY}, f"no customer {NOBODY}"),
            ("GET", f"/customers/{NOBODY}/summary", None, f"no customer {NOBODY}"),
            ("GET", f"/customers/{NOBODY}/referrals", None, f"no customer {NOBODY}"),
            ("GET", f"/customers/{10**30}/referrals", None, f"no customer {10**30}"),
            ("GET", f"/referrals/{10**9}", None, f"no referral {10**9}"),
            ("POST", f"/customers/{NOBODY}/referrals", INVITATION, f"no customer {NOBODY}"),
        ],
    )
    def test_what_is_not_there(
        self, client: FlaskClient, method: str, path: str, body: dict[str, Any] | None, error: str
    ) -> None:
        answer = client.open(path, method=method, json=body)
        assert (answer.status_code, answer.json) == (404, {"error": error})

    def test_an_invitation_that_does_not_fit_is_told_all_its_faults(
        self, client: FlaskClient, database: FreshDatabase
    ) -> None:
        before = database.rows("SELECT count(*) FROM referrals")
        answer = client.post(
            "/customers/1/referrals",
            json={"campaign_id": 99, "product_id": 10**20, "invitee_email": "nobody\0@example.test"},
        )
        assert (answer.status_code, answer.json) == (
            400,
            {"error": f"no campaign 99; no product {10**20}; invitee_email is not an e-mail address"},
        )
        assert database.rows("SELECT count(*) FROM referrals") == before


def test_an_invitation_is_stored_whole_or_not_at_all(pg: BareServer) -> None:
    with fresh_database(pg) as database:
        seed.fill(database.dsn, SCHEMA, Data(size="tiny"), lambda *_: None)
        database.rows("ALTER TABLE status_events ADD CHECK (occurred_at < '2020-01-01') NOT VALID")
        before = database.rows("SELECT count(*) FROM referrals")
        with service(database) as app:
            answer = app.test_client().post("/customers/1/referrals", json=INVITATION)
            assert (answer.status_code, answer.json) == (
                500,
                {"error": "internal server error", "type": "sqlalchemy.exc.IntegrityError"},
            )
            assert held(app) == (0, 0)
        assert database.rows("SELECT count(*) FROM referrals") == before


class TestTheLeak:
    def lists(self, app: Flask, threads: int) -> list[int]:
        """Status codes of one list per thread, all in flight at once; no thread ends before the others."""
        barrier = threading.Barrier(threads, timeout=30)
        codes = []

        def fetch() -> None:
            barrier.wait()
            codes.append(app.test_client().get("/customers/1/referrals").status_code)
            barrier.wait()

        running = [threading.Thread(target=fetch) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in running)
        return codes

    @pytest.mark.parametrize(("release", "expected"), [("1.0", (0, 0)), ("1.1", (0, 1)), ("1.1.1", (0, 0))])
    def test_what_a_list_leaves_behind_on_its_thread(
        self, database: FreshDatabase, release: str, expected: tuple[int, int]
    ) -> None:
        with service(database, release=release) as app:
            for _ in range(3):
                assert app.test_client().get("/customers/1/referrals").status_code == 200
                assert held(app) == expected
            assert app.test_client().get(f"/customers/{NOBODY}/referrals").status_code == 404
            assert app.test_client().get("/referrals/1").status_code == 200
            assert app.test_client().post("/login", json={"customer_id": 1}).status_code == 200
            assert held(app) == expected

    def test_one_more_thread_than_the_pool_holds_times_out(
        self, database: FreshDatabase, caplog: pytest.LogCaptureFixture
    ) -> None:
        with service(database, release="1.1", pool_size=2, max_overflow=1, pool_timeout_s=0.2) as app:
            codes = self.lists(app, threads=4)
            assert sorted(codes) == [200, 200, 200, 500]
        assert (
            "QueuePool limit of size 2 overflow 1 reached, connection timed out, timeout 0.20" in caplog.text
        )
        assert "Traceback" in caplog.text
        assert "app/referrals.py" in caplog.text

    def test_what_the_time_out_answers(self, database: FreshDatabase) -> None:
        with service(database, release="1.1", pool_size=1, max_overflow=0, pool_timeout_s=0.1) as app:
            with Connectors.of(app).replica.engine.connect():  # as another thread's leaked session
                answer = app.test_client().get("/customers/1/referrals")
            assert (answer.status_code, answer.json) == (
                500,
                {"error": "internal server error", "type": "sqlalchemy.exc.TimeoutError"},
            )

    def test_the_hotfix_holds_with_more_threads_than_connections(self, database: FreshDatabase) -> None:
        with service(database, release="1.1.1", pool_size=2, max_overflow=1, pool_timeout_s=30) as app:
            assert self.lists(app, threads=8) == [200] * 8
            assert held(app) == (0, 0)


def test_health_names_the_database_that_does_not_answer(database: FreshDatabase) -> None:
    nobody_there = make_url(database.url).set(database="no_such_database")
    config = Config(database.url, nobody_there.render_as_string(hide_password=False), secret="for tests")
    app = create_app(config)
    answer = app.test_client().get("/health")
    assert (answer.status_code, answer.json) == (
        503,
        {"status": "unavailable", "primary": "ok", "replica": "sqlalchemy.exc.OperationalError"},
    )
    assert held(app) == (0, 0)
    Connectors.of(app).primary.engine.dispose()


# What a table is, as PostgreSQL itself words it.
DESCRIPTIONS = (
    """SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default,
              identity_generation
       FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2""",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
       FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
)


def described(database: FreshDatabase) -> list[list[tuple[Any, ...]]]:
    return [database.rows(query) for query in DESCRIPTIONS]


def test_models_and_schema_file_are_the_same(pg: BareServer) -> None:
    with fresh_database(pg) as by_file, fresh_database(pg) as by_models:
        by_file.rows(SCHEMA.read_text())
        engine = create_engine(by_models.url)
        Base.metadata.create_all(engine)
        engine.dispose()
        assert described(by_models) == described(by_file)
        assert len(described(by_file)[0]) == 33
