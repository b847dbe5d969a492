"""Findings as GitLab's code quality report (pure)."""

import json
from collections.abc import Sequence
from typing import Final

from rushhour.jobs.annotate.annotation import Annotation, Spot, fingerprints

SEVERITY: Final = {"error": "critical", "warning": "minor"}
_WHOLE: Final = Spot(".", None)  # the format demands a path: the repository as a whole


def code_quality(annotations: Sequence[Annotation], otherwise: Sequence[Spot | None]) -> str:
    """Return the report as JSON.

    `otherwise` has a place for each annotation that is used if it has no line of its own.
    """
    rows = []
    marks = fingerprints(annotations)
    for annotation, elsewhere, mark in zip(annotations, otherwise, marks, strict=True):
        spot = annotation.spot or elsewhere or _WHOLE
        rows.append(
            {
                "type": "issue",
                "check_name": annotation.rule,
                "description": f"{annotation.title}: {annotation.message}",
                "categories": ["Bug Risk"],
                "severity": SEVERITY[annotation.level],
                "fingerprint": mark,
                "location": {"path": spot.file, "lines": {"begin": spot.line or 1}},
            }
        )
    return json.dumps(rows, indent=2) + "\n"
