"""The pager: answers counted in an access log, notifications as lines, and both over its own HTTP."""

import http.client
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rushhour.rundir import RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.stack.compose.pager.access_log import AccessLog
from rushhour.stack.compose.pager.desk import line_of, server

AT = datetime(2025, 1, 1, 18, 0, 1, 234000, tzinfo=UTC)
BODY = {
    "status": "firing",
    "receiver": "policy prom-pool",
    "groupLabels": {"alertname": "PoolTimeouts"},
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "PoolTimeouts", "severity": "page"},
            "annotations": {"summary": "a page"},
            "startsAt": "2025-01-01T18:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus/graph",
        }
    ],
    "externalURL": "http://alertmanager",
    "version": "4",
}


def line(path: str, code: int, method: str = "GET") -> str:
    return f'172.18.0.1 - - [01/Jan/2025:18:00:00 +0000] "{method} {path} HTTP/1.1" {code} 512 "-" "x"\n'


def counts(log: AccessLog) -> dict[str, str]:
    rows = [row for row in log.text().splitlines() if not row.startswith("#")]
    return dict(row.rsplit(" ", 1) for row in rows)


def test_answers_are_counted_by_status_code_and_probes_are_not(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(line("/health", 200) + line("/customers/1?x=1", 200) + line("/login", 500, "POST"))
    log = AccessLog(path, skip="/health")
    assert counts(log) == {
        'http_requests_total{code="200"}': "1",
        'http_requests_total{code="500"}': "1",
        "http_requests_5xx_total": "1",
    }
    with path.open("a") as file:
        file.write(line("/a", 503) + line("/b", 404)[:-9])  # the last line is still being written
    assert counts(log)["http_requests_5xx_total"] == "2"
    assert 'http_requests_total{code="404"}' not in counts(log)
    with path.open("a") as file:
        file.write(line("/b", 404)[-9:])
    assert counts(log)['http_requests_total{code="404"}'] == "1"


def test_a_log_that_was_cut_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(line("/a", 200) * 3)
    log = AccessLog(path)
    assert counts(log)['http_requests_total{code="200"}'] == "3"
    path.write_text(line("/a", 502))
    assert counts(log)["http_requests_5xx_total"] == "1"
    assert counts(log)['http_requests_total{code="200"}'] == "3"  # a counter never falls


def test_without_a_log_nothing_is_served_instead_of_a_zero(tmp_path: Path) -> None:
    assert AccessLog(tmp_path / "access.log").text() == ""


def test_a_notification_becomes_a_fact_of_the_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.notifications.write_text(line_of("prom-pool", json.dumps(BODY).encode(), AT, 1234.56789) + "\n")
    assert load_history(run).notifications == (
        f.Notification(
            at="2025-01-01T18:00:01.234+00:00",
            monotonic_s=1234.5679,
            policy="prom-pool",
            status="firing",
            group={"alertname": "PoolTimeouts"},
            alerts=(
                f.NotifiedAlert(
                    "firing",
                    {"alertname": "PoolTimeouts", "severity": "page"},
                    "2025-01-01T18:00:00Z",
                    "0001-01-01T00:00:00Z",
                ),
            ),
        ),
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"status": "firing"}', b'{"alerts": 1}'])
def test_what_is_no_notification_is_refused(body: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        line_of("p", body, AT, 1.0)


def test_it_records_under_the_policys_path_and_says_what_is_wrong(tmp_path: Path) -> None:
    told = tmp_path / "notifications.jsonl"
    with server(0, told, AccessLog(tmp_path / "access.log"), host="127.0.0.1") as desk:
        thread = threading.Thread(target=desk.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:

            def ask(method: str, path: str, body: bytes = b"") -> int:
                connection = http.client.HTTPConnection("127.0.0.1", desk.server_address[1], timeout=60)
                try:
                    connection.request(method, path, body)
                    answer = connection.getresponse()
                    answer.read()
                finally:
                    connection.close()
                return answer.status

            assert ask("GET", "/-/ready") == 200
            assert ask("GET", "/metrics") == 200
            assert ask("GET", "/nothing") == 404
            assert ask("POST", "/prom%20pool", json.dumps(BODY).encode()) == 200
            assert ask("POST", "/prom-pool", b"no JSON") == 400
        finally:
            desk.shutdown()
            thread.join()
    [recorded] = [json.loads(row) for row in told.read_text().splitlines()]
    assert recorded["policy"] == "prom pool"
