"""The zoo of defects: settings, and what of them needs no database."""

import http.client
import json
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session

from app.config import Config, ConfigError, from_environment
from app.factory import create_app
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.zoo import DEFECTS, LIST
from app.zoo.partner import Partner, Server, seconds

URL = "postgresql+psycopg2://nobody@127.0.0.1:1/none"
BASE = {"REFERRALS_PRIMARY_URL": URL, "REFERRALS_REPLICA_URL": URL}


def test_no_defect_unless_it_is_asked_for() -> None:
    assert from_environment(BASE).defect is None
    assert from_environment(BASE | {"REFERRALS_DEFECT": ""}).defect is None


def test_bad_settings_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        from_environment(BASE | {"REFERRALS_DEFECT": "gremlin", "REFERRALS_CURED": "maybe"})
    assert str(caught.value).splitlines() == [
        f"REFERRALS_DEFECT is 'gremlin', not one of {', '.join(DEFECTS)}",
        "REFERRALS_CURED is 'maybe', not yes or no",
    ]


# These open connections, or set up the driver for the whole process, when the application is made.
AT_START = {"fork-shared", "server-limit", "blocked-worker", "slow-or-dead-backend", "routed-session"}


@pytest.mark.parametrize("cured", [False, True])
@pytest.mark.parametrize("defect", sorted(set(DEFECTS) - AT_START))
def test_each_defect_replaces_a_part_of_the_same_service(defect: str, cured: bool) -> None:
    plain, app = (create_app(Config(URL, URL, "secret", defect=item, cured=cured)) for item in (None, defect))
    added = set(app.view_functions) - set(plain.view_functions)
    if defect == "abandoned-stream":
        assert added == {"export_referrals"}
    else:
        assert added == set()
        assert app.view_functions[LIST].__module__.startswith("app.zoo.")
    assert {rule.rule for rule in plain.url_map.iter_rules()} <= {
        rule.rule for rule in app.url_map.iter_rules()
    }


def test_a_routed_session_binds_by_what_it_reads() -> None:
    app = create_app(Config(URL, URL, "secret", defect="routed-session"))
    connectors = app.extensions["connectors"]
    view = app.view_functions[LIST]
    routed = next(
        cell.cell_contents
        for cell in view.__closure__ or ()
        if isinstance(cell.cell_contents, type) and issubclass(cell.cell_contents, Session)
    )
    with routed() as session:
        assert session.get_bind(clause=REFERRALS_OF_CUSTOMER) is connectors.replica.engine
        assert session.get_bind() is connectors.primary.engine


@pytest.fixture
def partner() -> Iterator[tuple[str, int]]:
    Partner.delay_s = 0.0
    with Server(("127.0.0.1", 0), Partner) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "127.0.0.1", server.server_address[1]
        finally:
            server.shutdown()
            thread.join(60)


def ask(address: tuple[str, int], path: str, body: str | None = None) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request("GET" if body is None else "PUT", path, body=body)
        answer = connection.getresponse()
        return answer.status, json.load(answer)
    finally:
        connection.close()


def test_the_partner_answers_and_its_delay_can_be_set(partner: tuple[str, int]) -> None:
    assert ask(partner, "/health") == (200, {"status": "ok"})
    assert ask(partner, "/points/7") == (200, {"points": 70})
    assert ask(partner, "/points/x")[0] == 404
    assert ask(partner, "/delay", "0.05") == (200, {"delay_s": 0.05})
    assert Partner.delay_s == 0.05
    assert ask(partner, "/delay", "-1")[0] == 400


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "601"])
def test_a_delay_is_a_number_of_seconds(text: str) -> None:
    with pytest.raises(ValueError, match=r"number of seconds|could not convert"):
        seconds(text)
