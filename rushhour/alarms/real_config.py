"""Policies as the configuration of a real Prometheus and Alertmanager, which run the same rules (pure).

The rule files stay as they are. Each policy has a receiver of its own, and a route that takes its alerts.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from rushhour.alarms.prometheus import PrometheusPolicy
from rushhour.scenario.yaml_node import read_yaml

SLACK_S: Final = 3.0  # beyond all intervals: the agent's second, Alertmanager's queue, the webhook
SCRAPE_TIMEOUT_S: Final = 10.0
AGENT, ANSWERS = "agent", "answers"  # the names of the two targets


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts reach each other, `host:port`. `service` names the instance that the answers are of."""

    agent: str
    service: str
    alertmanager: str
    pager: str


@dataclass(frozen=True, slots=True)
class RealAlerting:
    """The policies that a real Prometheus and Alertmanager are to run."""

    policies: tuple[PrometheusPolicy, ...]

    @property
    def scrape_s(self) -> float:
        """Of all of them."""
        return self.policies[0].scrape_interval

    @property
    def settles_s(self) -> float:
        """Within this time of an event whose alert has no `for:`, a first page has come."""
        first = self.policies[0]
        waits = max(policy.group_wait for policy in self.policies)
        return first.scrape_interval + first.evaluation_interval + waits + SLACK_S

    def digests(self) -> dict[str, str]:
        """Return by policy's name what changes whenever its rules or its route do."""
        return {policy.name: digest(policy) for policy in self.policies}

    def rule_files(self) -> dict[str, str]:
        """Return their texts by a name of their own, each file once."""
        files = dict.fromkeys(name for policy in self.policies for name in policy.rules)
        return {
            f"{number}-{Path(name).name}": Path(name).read_text(encoding="utf-8")
            for number, name in enumerate(files)
        }

    def prometheus(self, to: Addresses) -> str:
        """Return prometheus.yml, as JSON, which is YAML."""
        scrape_s, every_s = self.policies[0].scrape_interval, self.policies[0].evaluation_interval
        targets = [
            {"targets": [to.agent]},
            {"targets": [to.pager], "labels": {"instance": to.service}},  # it counts the service's answers
        ]
        content: dict[str, Any] = {
            "global": {
                "scrape_interval": _duration(scrape_s),
                "scrape_timeout": _duration(min(SCRAPE_TIMEOUT_S, scrape_s)),
                "evaluation_interval": _duration(every_s),
            },
            "rule_files": [f"rules/{name}" for name in self.rule_files()],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [to.alertmanager]}]}]},
            "scrape_configs": [{"job_name": "service", "static_configs": targets}],
        }
        return json.dumps(content, indent=1)

    def alertmanager(self, to: Addresses) -> str:
        """Return alertmanager.yml."""
        receivers: list[dict[str, Any]] = [{"name": "nobody"}]
        routes = []
        for policy in self.policies:
            url = f"http://{to.pager}/{quote(policy.name, safe='')}"
            hook = {"url": url, "send_resolved": policy.send_resolved, "max_alerts": 0}
            receivers.append({"name": f"policy {policy.name}", "webhook_configs": [hook]})
            routes.append(_route(policy))
        return json.dumps(
            {"route": {"receiver": "nobody", "routes": routes}, "receivers": receivers}, indent=1
        )


def digest(policy: PrometheusPolicy) -> str:
    """Return a text that changes with the policy's rules and its route, and not with its files' place."""
    parts = [str(policy.route), str(policy.match), *policy.texts()]
    parts += [f"{policy.scrape_interval} {policy.evaluation_interval}"]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def contradictions(policies: Sequence[PrometheusPolicy]) -> list[str]:
    """Say why these cannot be run by one Prometheus and one Alertmanager, though each can be replayed."""
    problems = []
    for key in ("scrape_interval", "evaluation_interval"):
        values = {getattr(policy, key): policy.name for policy in policies}
        if len(values) > 1:
            stated = ", ".join(f"{name} has {value:g} s" for value, name in values.items())
            problems.append(f"one Prometheus has one {key}: {stated}")
    where: dict[str, set[str]] = {}
    for policy in policies:
        for file in policy.rules:
            for alert in alert_names(Path(file)):
                where.setdefault(alert, set()).add(file)
    problems += [
        f"one Alertmanager cannot tell apart alert {alert} of {' and '.join(sorted(files))}"
        for alert, files in where.items()
        if len(files) > 1
    ]
    return problems


def alert_names(file: Path) -> list[str]:
    """Return the alerts of a rule file."""
    groups = read_yaml(file).plain["groups"]
    return [str(rule["alert"]) for group in groups for rule in group.get("rules") or () if "alert" in rule]


def alerts_of(policy: PrometheusPolicy) -> frozenset[str]:
    """Return the names of all its alerts."""
    return frozenset(name for file in policy.rules for name in alert_names(Path(file)))


def _route(policy: PrometheusPolicy) -> dict[str, Any]:
    any_of = "|".join(re.escape(alert) for alert in sorted(alerts_of(policy)))
    return {
        "receiver": f"policy {policy.name}",
        "continue": True,  # another policy may want the same alerts
        "matchers": [
            f"alertname=~{json.dumps(any_of)}",
            *(f"{name}={json.dumps(value)}" for name, value in policy.match.items()),
        ],
        "group_by": list(policy.group_by),
        "group_wait": _duration(policy.group_wait),
        "group_interval": _duration(policy.group_interval),
        "repeat_interval": _duration(policy.repeat_interval),
    }


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
