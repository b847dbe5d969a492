"""Recognises the alarm files of tools that are not read, so that a refusal names the tool (pure)."""

import json
from collections.abc import Mapping
from typing import Any, Final

_SHOWN: Final = 20_000  # characters of a document that are looked at
_DATADOG: Final = {"query", "type"}
_MARKS: Final = (
    ("nrql", "a condition of New Relic"),
    ("microsoft.insights/", "an alert of Azure Monitor"),
    ("conditionthreshold", "an alert policy of Google Cloud"),
    ("conditionprometheusquerylanguage", "an alert policy of Google Cloud"),
    ("programtext", "a detector of Splunk Observability"),
    ("elasticsearch", "a watch of Elasticsearch"),
)


def other_tool(plain: Any) -> str:
    """Return what a document is, where another tool's alarms are known by it; else an empty text."""
    first = plain[0] if isinstance(plain, list) and plain else plain
    if not isinstance(first, Mapping):
        return ""
    if isinstance(kind := first.get("kind"), str) and "apiVersion" in first:
        return f"a {kind} ({first['apiVersion']})"
    if isinstance(monitors := first.get("monitors"), list) and monitors and isinstance(monitors[0], Mapping):
        first = monitors[0]
    if first.keys() >= _DATADOG and ("options" in first or "message" in first):
        return "a monitor of Datadog"
    if str(first.get("version", "")).startswith("prometheus/") and "slos" in first:
        return "a Sloth file of objectives: generate its rules, and name those"
    try:
        text = json.dumps(plain, default=str)[:_SHOWN].lower()
    except (ValueError, RecursionError):
        return ""
    return next((words for mark, words in _MARKS if mark in text), "")
