"""The whole chain against a real Prometheus that tells a real Alertmanager, with seconds for minutes."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rushhour.alarms.events import Kind
from rushhour.alarms.prometheus import PrometheusPolicy
from tests.free_ports import free_port
from tests.integration.alertmanager_subject import Machine, Told, alertmanager, running, told_in_time, webhook
from tests.unit.test_alarms_cloudwatch import timeline

TOOLS = ("promtool", "prometheus", "prometheus-alertmanager")
pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in TOOLS), reason=f"not all of {', '.join(TOOLS)}: make alert-tools"
)

EVALUATION_S = SCRAPE_S = 1.0
SCRAPE_DEADLINE_S = 60.0
WAITERS = range(1, 7)  # seconds with threads in the queue
SECONDS = 14
RULES = """groups:
  - name: pool
    rules:
      - alert: Waiting
        expr: sum(db_client_connection_pending_requests) > 0
        for: 2s
        keep_firing_for: 4s
        labels: {timeline: real}
"""


@dataclass(slots=True)
class Exporter:
    """What Prometheus scrapes: waiters during WAITERS, counted from `started_s` on.

    That lies between two scrapes: at a scrape's own moment chance would decide which value it gets.
    """

    port: int = 0
    scrapes: int = 0
    scraped_s: float = 0.0
    started_s: float | None = None

    def text(self) -> str:
        now_s = None if self.started_s is None else int(time.monotonic() - self.started_s)
        return f"db_client_connection_pending_requests {int(now_s in WAITERS)}\n"


@contextmanager
def exporting() -> Iterator[Exporter]:
    exporter = Exporter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            exporter.scraped_s = time.monotonic()
            exporter.scrapes += 1
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(exporter.text().encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    exporter.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield exporter
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.long
def test_a_real_prometheus_and_alertmanager_notify_as_predicted(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)

    def tell(folder: Path, _machine: Machine) -> tuple[float, list[Told]]:
        with webhook() as hook, exporting() as exporter:
            address, arguments = alertmanager(
                folder,
                "route: {receiver: hook, group_by: [timeline], group_wait: 1s, group_interval: 2s, "
                "repeat_interval: 5s}\n"
                f"receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{hook.port}/'}}]}}]\n",
            )
            (folder / "prometheus.yml").write_text(
                "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                f"rule_files: ['{tmp_path / 'rules.yml'}']\n"
                f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}\n"
                "scrape_configs:\n"
                f"  - {{job_name: s, static_configs: [{{targets: ['127.0.0.1:{exporter.port}']}}]}}\n"
            )
            at = f"127.0.0.1:{free_port()}"
            served = [
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={at}",
            ]
            with (
                running("prometheus-alertmanager", arguments, f"http://{address}/-/ready", folder / "a.log"),
                running("prometheus", served, f"http://{at}/-/ready", folder / "p.log"),
            ):
                deadline = time.monotonic() + SCRAPE_DEADLINE_S
                while exporter.scrapes < 2:
                    assert time.monotonic() < deadline, f"{exporter.scrapes} scrapes in {SCRAPE_DEADLINE_S} s"
                    time.sleep(0.05)
                started_s = exporter.started_s = exporter.scraped_s + SCRAPE_S / 2
                time.sleep(SECONDS + 2)
                return started_s, list(hook.told)

    started_s, told = told_in_time(tell, tmp_path)
    policy = PrometheusPolicy(
        name="p",
        rules=(str(tmp_path / "rules.yml"),),
        evaluation_interval=1.0,
        scrape_interval=1.0,
        healthy_before=10.0,
        group_by=("timeline",),
        group_wait=1.0,
        group_interval=2.0,
        repeat_interval=5.0,
    )
    waiting = timeline({}, SECONDS, pool_waiters=dict.fromkeys(WAITERS, 1))
    predicted = policy.replay(waiting)
    assert predicted.unknown == ""
    assert [notification.kind for notification in predicted.notifications] == [
        Kind.ALARM,
        Kind.REPEAT,
        Kind.RESOLVED,
    ]
    assert [item.status for item in told] == ["firing", "firing", "resolved"]
    # Scrapes and evaluations of the real one stand anywhere within their intervals: a shift of all alike.
    off_s = [
        real.at_s - started_s - item.t_s for real, item in zip(told, predicted.notifications, strict=True)
    ]
    assert -EVALUATION_S <= off_s[0] <= 3 * EVALUATION_S, off_s
    assert all(abs(gap_s - off_s[0]) < EVALUATION_S for gap_s in off_s), off_s
