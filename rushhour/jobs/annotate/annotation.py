"""A finding as CI servers show it: a level, a rule, and a line of the repository (pure)."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rushhour.process.printable import clean
from rushhour.rundir.masking import mask_text

Level = Literal["error", "warning"]
Result = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Spot:
    """A line of a file in the repository."""

    file: str  # relative to the repository's root, with forward slashes
    line: int | None  # None: the file does not have that line now
    function: str = ""
    code: str = ""  # the text of the line


@dataclass(frozen=True, slots=True)
class Fact:
    """A piece of evidence: `leaked check-outs`, `30`, and what it says."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A failure (error), or an unknown result or a doubt (warning)."""

    level: Level
    rule: str  # a cause of the diagnosis, or a rule of `rules.py`
    title: str  # one line
    message: str  # one or more lines
    spot: Spot | None  # None: no line of the repository is known
    about: tuple[str, ...]  # what the finding is about, the same in every run: scenario, pool, endpoint
    evidence: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run, check or command ended, whether it has annotations or not."""

    name: str
    verdict: Result
    headline: str


def annotation(  # noqa: PLR0917  # called in the order in which it is read
    level: Level,
    rule: str,
    title: str,
    lines: Sequence[str],
    spot: Spot | None,
    about: Sequence[str | None],
    evidence: Sequence[Fact] = (),
) -> Annotation:
    """Return an annotation without control characters, secrets, empty lines and repeated ones."""
    kept = dict.fromkeys(shown(line) for line in lines if line.strip())
    return Annotation(
        level,
        rule,
        " ".join(shown(title).split()),
        "\n".join(kept),
        spot,
        tuple(part or "" for part in about),
        tuple(Fact(shown(fact.name), shown(fact.value), shown(fact.meaning)) for fact in evidence),
    )


def shown(text: str) -> str:
    """Return text without control characters and without secrets."""
    return clean(mask_text(text))


def fingerprints(annotations: Sequence[Annotation]) -> list[str]:
    """Return a fingerprint for each annotation, which stays the same from run to run.

    It does not depend on the number of the line, because a change further up in the file moves the line.
    Annotations that are alike in everything else are numbered.
    """
    seen = Counter[str]()
    found = []
    for item in annotations:
        place = [item.spot.file, item.spot.function] if item.spot else []
        key = json.dumps([item.rule, place, item.about])
        seen[key] += 1
        text = key if seen[key] == 1 else f"{key} {seen[key]}"
        found.append(hashlib.sha256(text.encode()).hexdigest())
    return found
