"""Findings as SARIF 2.1.0 (pure)."""

import json
from collections.abc import Sequence
from importlib import metadata
from typing import Any, Final
from urllib.parse import quote

from rushhour.jobs.annotate.annotation import Annotation, Spot, fingerprints
from rushhour.jobs.annotate.rules import UNKNOWN, rule

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_ROOT: Final = "SRCROOT"  # what paths are relative to: the root of the repository


def sarif(annotations: Sequence[Annotation], otherwise: Sequence[Spot | None]) -> str:
    """Return a log with one run as JSON.

    `otherwise` has a place for each annotation that is used if it has no line of its own; without either,
    a result has no location.
    """
    rules = sorted({annotation.rule for annotation in annotations})
    version = metadata.version("rushhour")
    driver = {
        "name": "rushhour",
        "version": version,
        "semanticVersion": version,
        "rules": [_rule(name) for name in rules],
    }
    marks = fingerprints(annotations)
    results = [
        _result(annotation, annotation.spot or elsewhere, mark, rules.index(annotation.rule))
        for annotation, elsewhere, mark in zip(annotations, otherwise, marks, strict=True)
    ]
    run = {
        "tool": {"driver": driver},
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The root of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(name: str) -> dict[str, Any]:
    found = rule(name)
    return {
        "id": found.id,
        "name": "".join(part.capitalize() for part in found.id.split("-")),
        "shortDescription": {"text": found.summary},
        "fullDescription": {"text": found.summary},
        "help": {"text": found.page, "markdown": found.page},
        "defaultConfiguration": {"level": "warning" if name == UNKNOWN else "error"},
    }


def _result(annotation: Annotation, spot: Spot | None, mark: str, index: int) -> dict[str, Any]:
    evidence = [
        {"name": fact.name, "value": fact.value, **({"meaning": fact.meaning} if fact.meaning else {})}
        for fact in annotation.evidence
    ]
    return {
        "ruleId": annotation.rule,
        "ruleIndex": index,
        "level": annotation.level,
        "message": {"text": f"{annotation.title}\n{annotation.message}"},
        "locations": [] if spot is None else [_location(spot)],
        "partialFingerprints": {"rushhour/v1": mark},
        "properties": {"about": [part for part in annotation.about if part], "evidence": evidence},
    }


def _location(spot: Spot) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(spot.file), "uriBaseId": _ROOT}}
    if spot.line is not None:
        place["region"] = {"startLine": spot.line}
        if spot.code:
            place["region"]["snippet"] = {"text": spot.code}
    location: dict[str, Any] = {"physicalLocation": place}
    if spot.function:
        location["logicalLocations"] = [{"name": spot.function, "kind": "function"}]
    return location
