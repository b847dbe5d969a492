"""A project's real Prometheus and Alertmanager, and the pager that records their notifications."""

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from docker.models.containers import Container

from rushhour.alarms.real_config import AGENT, ANSWERS, Addresses, RealAlerting
from rushhour.errors import StackError
from rushhour.process.waiting import wait_until
from rushhour.scenario.model import SERVERS
from rushhour.stack.compose.command import ComposeCommand
from rushhour.stack.compose.engine import ENGINE_ERRORS, last_reason
from rushhour.stack.compose.failure import containers
from rushhour.stack.compose.files import ALERTING_PARTS, METRICS_PORT, SERVER_PORT, SERVICE_PORT, Places
from rushhour.stack.compose.images import ALERTMANAGER_IMAGE, PROMETHEUS_IMAGE, ImageStore
from rushhour.stack.compose.template import last_lines
from rushhour.stack.postgres.server import DATABASE

UP_TIMEOUT_S: Final = 60.0
READY_TIMEOUT_S: Final = 30.0
ASK_TIMEOUT_S: Final = 5.0
LOG_LINES: Final = 60  # both write on for a while after the line that says what is wrong
ADDRESSES: Final = Addresses(
    f"service:{METRICS_PORT}", f"service:{SERVICE_PORT}", "alertmanager:9093", "pager:9095"
)
_PORTS: Final = {"pager": "9095/tcp", "alertmanager": "9093/tcp", "prometheus": "9090/tcp"}


def write_configuration(alerting: RealAlerting, folder: Path) -> None:
    """Write the configuration of both programs, readable by every user."""
    texts = {
        "prometheus/prometheus.yml": alerting.prometheus(ADDRESSES),
        "alertmanager/alertmanager.yml": alerting.alertmanager(ADDRESSES),
        **{f"prometheus/rules/{name}": text for name, text in alerting.rule_files().items()},
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    for path in (folder, *(entry for entry in folder.rglob("*") if entry.is_dir())):
        path.chmod(0o755)


@dataclass(frozen=True, slots=True)
class ComposeAlerting:
    """The running alarm containers; `urls` are their addresses on this machine."""

    wanted: RealAlerting
    urls: Mapping[str, tuple[str, int]]
    images: Mapping[str, str]

    @property
    def settles_s(self) -> float:
        """The time within which the first page follows an event, in seconds."""
        return self.wanted.settles_s

    @property
    def places(self) -> dict[str, str]:
        """The addresses by part."""
        return {part: f"http://{host}:{port}/" for part, (host, port) in self.urls.items()}

    @property
    def detail(self) -> dict[str, Any]:
        """The detail of the event `alerting_up`."""
        pools = {name: f"{name}:{SERVER_PORT}/{DATABASE}" for name in SERVERS}  # their labels in the metrics
        return {"policies": self.wanted.digests(), "pools": pools, "images": dict(self.images)}

    def ended(self) -> dict[str, Any]:
        """Return what Prometheus scraped and evaluated, and how many notifications were lost.

        Raises StackError if it does not answer.
        """
        targets = self._asked("/api/v1/targets?state=active")["activeTargets"]
        groups = self._asked("/api/v1/rules?type=alert")["groups"]
        return {
            "targets": [
                {
                    "target": target["scrapeUrl"],
                    "of": AGENT if target["scrapeUrl"] == f"http://{ADDRESSES.agent}/metrics" else ANSWERS,
                    "scraped_s": wall_s(target["lastScrape"]),
                    "health": target["health"],
                    "error": target["lastError"],
                }
                for target in targets
            ],
            "rules": [
                {
                    "alert": rule["name"],
                    "health": rule["health"],
                    "error": rule.get("lastError", ""),
                    "evaluated_s": wall_s(rule["lastEvaluation"]),
                }
                for group in groups
                for rule in group["rules"]
            ],
            "metrics": self._asked("/api/v1/label/__name__/values"),
            "lost": self._lost(),
        }

    def _asked(self, path: str) -> Any:
        text = ask(*self.urls["prometheus"], path)
        try:
            return json.loads(text)["data"]
        except (ValueError, KeyError, TypeError):
            raise StackError(f"Prometheus answers {path} with {text[:200]!r}") from None

    def _lost(self) -> dict[str, float]:
        """Return the numbers of lost alerts and notifications, as counted by both programs."""
        watched = {
            "prometheus": ("prometheus_notifications_dropped_total", "prometheus_notifications_errors_total"),
            "alertmanager": ("alertmanager_notifications_failed_total",),
        }
        return {
            name: total
            for part, names in watched.items()
            for name, total in sums_of(ask(*self.urls[part], "/metrics"), names).items()
            if total
        }


def start_alerting(
    command: ComposeCommand, images: ImageStore, wanted: RealAlerting, *, places: Places, python: str
) -> ComposeAlerting:
    """Start pager, Alertmanager and Prometheus, in this order, and wait until they are ready.

    Raises StackError, with the last lines of the program that is not ready.
    """
    found_images = {
        "pager": images.need(python),
        "alertmanager": images.need(ALERTMANAGER_IMAGE),
        "prometheus": images.need(PROMETHEUS_IMAGE),
    }
    folder = places.work / "alerting"
    write_configuration(wanted, folder)
    places.notifications.touch()
    places.notifications.chmod(0o666)  # the pager's user is nobody
    command = replace(
        command,
        variables={
            **command.variables,
            "RUSHHOUR_ALERTING": str(folder),
            "RUSHHOUR_NOTIFICATIONS": str(places.notifications),
            "RUSHHOUR_PACKAGE": str(Path(__file__).resolve().parents[2]),
            "RUSHHOUR_ALERTMANAGER_IMAGE": ALERTMANAGER_IMAGE,
            "RUSHHOUR_PROMETHEUS_IMAGE": PROMETHEUS_IMAGE,
        },
    )
    try:
        command.run(
            *("--profile", "observability", "up", "--detach", "--no-build", "--no-deps", "--no-recreate"),
            *ALERTING_PARTS,
            timeout_s=UP_TIMEOUT_S,
        )
        found = containers(images.client, command.project)
        urls: dict[str, tuple[str, int]] = {}
        for part in ALERTING_PARTS:
            if part not in found:
                raise StackError(f"docker compose started no container of {part}")
            port = wait_until_published(part, found[part])
            urls[part] = (command.engine.host, port)
            wait_until_ready(part, found[part], *urls[part])
        up = ComposeAlerting(wanted, urls, {part: str(image) for part, image in found_images.items()})
        wait_until_scraped(up, found["prometheus"])
    except ENGINE_ERRORS as error:
        raise StackError(f"the alarms' containers could not be started: {last_reason(error)}") from error
    return up


def wait_until_published(part: str, container: Container) -> int:
    """Return the local port on which a container is published."""

    def published() -> int | str:
        container.reload()
        found = container.ports.get(_PORTS[part])
        return int(found[0]["HostPort"]) if found else "its port is not published"

    return wait_for(part, container, published)


def wait_until_ready(part: str, container: Container, host: str, port: int) -> None:
    """Wait until a program says that it is ready."""

    def answer() -> int | str:
        try:
            ask(host, port, "/-/ready")
            return 1
        except StackError as error:
            container.reload()
            return str(error)

    wait_for(part, container, answer)


def wait_until_scraped(alerting: ComposeAlerting, prometheus: Container) -> None:
    """Wait until each target was scraped: in production, Prometheus knows the service before it fails."""

    def scraped() -> int | str:
        prometheus.reload()
        targets = alerting.ended()["targets"]
        waiting = [
            f"{target['target']} {target['health']} {target['error']}"
            for target in targets
            if target["health"] != "up"
        ]
        return ", ".join(waiting) or len(targets) or "no target"

    wait_for("prometheus", prometheus, scraped, READY_TIMEOUT_S + alerting.wanted.scrape_s)


def wait_for(
    part: str, container: Container, probe: Callable[[], int | str], timeout_s: float = READY_TIMEOUT_S
) -> int:
    """Wait until the probe returns a number instead of a problem. Raises StackError."""
    found = 0

    def problem() -> str | None:
        nonlocal found
        if isinstance(seen := probe(), str):
            return f"{seen}, its container {container.status}"
        found = seen
        return None

    def check() -> None:
        if container.status not in ("created", "running"):
            raise StackError(
                f"waited for {part} to be ready; its container is {container.status}; "
                "the last lines of its log:",
                last_lines(container, LOG_LINES),
            )

    wait_until(
        f"{part} to be ready",
        problem,
        timeout_s,
        "the last lines of its log:",
        check=check,
        tail=lambda: last_lines(container, LOG_LINES),
    )
    return found


def ask(host: str, port: int, path: str) -> str:
    """Send a GET request. Raises StackError for any status but 200."""
    connection = http.client.HTTPConnection(host, port, timeout=ASK_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise StackError(
            f"http://{host}:{port}{path} does not answer: {error or type(error).__name__}"
        ) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise StackError(f"http://{host}:{port}{path} answers {answer.status}: {text.strip()[:200]}")
    return text


def wall_s(text: str) -> float:
    """Convert a time of Prometheus to seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def sums_of(text: str, names: tuple[str, ...]) -> dict[str, float]:
    """Return metrics of Prometheus's text format, each summed over its labels (pure)."""
    totals = dict.fromkeys(names, 0.0)
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in totals:
            totals[name] += float(line.rpartition(" ")[2])
    return totals
