"""Recognises the alarm files of tools that are not read, so that a refusal names the tool (pure)."""

import json
from collections.abc import Mapping
from typing import Any, Final

_SHOWN: Final = 20_000  # characters of a document that are looked at
_KEYS: Final[tuple[tuple[frozenset[str], str], ...]] = (
    (frozenset({"query", "type", "options"}), "a monitor of Datadog"),
    (frozenset({"query", "type", "message"}), "a monitor of Datadog"),
    (
        frozenset({"version", "terraform_version", "resources"}),
        "a state of Terraform as it is stored: name what `terraform show -json` prints instead",
    ),
    (
        frozenset({"panels", "schemaVersion"}),
        "a dashboard of Grafana: export its alert rules, and name those",
    ),
    (
        frozenset({"AlarmHistoryItems"}),
        "a history of alarms: name what `aws cloudwatch describe-alarms` prints instead",
    ),
    (frozenset({"service", "slos"}), "a file of Sloth: generate its rules, and name those"),
)
_MARKS: Final = (
    ("nrql", "a condition of New Relic"),
    ("microsoft.insights/", "an alert of Azure Monitor"),
    ("conditionthreshold", "an alert policy of Google Cloud"),
    ("conditionprometheusquerylanguage", "an alert policy of Google Cloud"),
    ("programtext", "a detector of Splunk Observability"),
)


def other_tool(plain: Any) -> str:
    """Return what a document is, where another tool's alarms are known by it; else an empty text."""
    first = plain[0] if isinstance(plain, list) and plain else plain
    if not isinstance(first, Mapping):
        return ""
    if isinstance(kind := first.get("kind"), str) and "apiVersion" in first:
        return f"a resource of kind {kind} ({first['apiVersion']})"
    if isinstance(monitors := first.get("monitors"), list) and monitors and isinstance(monitors[0], Mapping):
        first = monitors[0]
    by_keys = next((words for keys, words in _KEYS if first.keys() >= keys), "")
    return by_keys or _by_text(plain)


def _by_text(plain: Any) -> str:
    try:
        text = json.dumps(plain, default=str)[:_SHOWN].lower()
    except (ValueError, RecursionError):
        return ""
    return next((words for mark, words in _MARKS if mark in text), "")
