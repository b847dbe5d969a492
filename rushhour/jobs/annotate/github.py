"""Findings as GitHub's workflow commands, which its runner turns into annotations (pure)."""

from collections.abc import Iterable

from rushhour.jobs.annotate.annotation import Annotation


def workflow_commands(annotations: Iterable[Annotation]) -> list[str]:
    """Return one line for each annotation: `::error file=app/x.py,line=27,title=...::...`."""
    return [_command(annotation) for annotation in annotations]


def _command(annotation: Annotation) -> str:
    properties = []
    if annotation.spot is not None:
        properties.append(f"file={_property(annotation.spot.file)}")
        if annotation.spot.line is not None:
            properties.append(f"line={annotation.spot.line}")
    properties.append(f"title={_property(annotation.title)}")
    return f"::{annotation.level} {','.join(properties)}::{_data(annotation.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
