"""What a segment of a path looks like: a word of the program, or a value (pure)."""

import re
from typing import Final
from urllib.parse import unquote

STATIC: Final = frozenset(
    (
        *("avif", "bmp", "gif", "ico", "jpeg", "jpg", "png", "svg", "webp", "css", "js", "map", "mjs"),
        *("eot", "otf", "ttf", "woff", "woff2", "mp3", "mp4", "ogg", "webm", "txt", "webmanifest", "xml"),
    )
)  # extensions of files that a web server or a CDN answers
LONGEST_WORD: Final = 40

_NUMBER: Final = re.compile(r"-?\d+\Z")
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\Z", re.IGNORECASE
)
_DATE: Final = re.compile(r"(?:19|20)\d\d-(?:0?[1-9]|1[0-2])(?:-\d\d?)?(?:T.*)?\Z")
_HASH: Final = re.compile(r"(?=.*\d)[0-9a-f]{8,}\Z", re.IGNORECASE)
_KINDS: Final = (("number", _NUMBER), ("uuid", _UUID), ("date", _DATE), ("hash", _HASH))
_VERSION: Final = re.compile(r"v\d{1,2}(?:\.\d{1,2}){0,2}\Z")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z]*[0-9]{0,2}(?:[._-][A-Za-z]+[0-9]{0,2})*\Z")
_MIXED: Final = re.compile(r"[a-z][A-Z]")
LONGEST_MIXED: Final = 14  # `getCustomer` is a word; letters of both cases beyond this may be a token


def kind_of(segment: str) -> str:
    """What a value is: number, uuid, date, hash or key; empty for what may be a word of the program.

    Anything that is not plainly a word is a value: an e-mail address, a token, something with digits inside.
    """
    for kind, pattern in _KINDS:
        if pattern.match(segment):
            return kind
    if _VERSION.match(segment):
        return ""
    if len(segment) > LONGEST_WORD or not _WORD.match(segment):
        return "key"
    if len(segment) > LONGEST_MIXED and _MIXED.search(segment) and "-" not in segment:
        return "key"
    return ""


def split(path: str) -> list[str]:
    """The segments of a path, without the empty ones of doubled and trailing slashes."""
    return [part for part in path.split("/") if part]


def without_parameters(segment: str) -> str:
    """A segment without its parameters (`cart;jsessionid=...`), which belong to a client as queries do."""
    return segment.partition(";")[0] or segment


def static_extension(path: str) -> str | None:
    """The extension of a static file, from the closed list above; None for any other path."""
    name = path.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    extension = extension.lower()
    return extension if dot and stem and extension in STATIC else None


def parameter_name(before: str, kind: str) -> str:
    """A name for a value by the word before it: `customer_id` for the number after `customers`."""
    word = re.sub(r"\W+", "_", unquote(before)).strip("_").lower()
    if word.endswith("ies"):
        word = f"{word[:-3]}y"
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    ending = "id" if kind in ("number", "uuid", "hash") else kind
    return f"{word}_{ending}" if word else ending
