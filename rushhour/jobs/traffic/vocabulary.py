"""Which words of a path may be a program's own, and which may be a client's (pure).

A word that every program may have (`orders`, `login`) is known from a list. Any other may be a name that a
client chose, so it needs more evidence, and has none where the word before it announces a person, a secret or
a file.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

FEWEST_VISITORS: Final = 5  # fewer visitors than this: the word may be a customer's own
FEWEST_REQUESTS: Final = 10
FEWEST_OF_UNKNOWN: Final = 20  # visitors of a word that is not of the list, or stands after one of `PERSONAL`

PERSONAL: Final = frozenset(
    (
        *(
            "account",
            "author",
            "by",
            "client",
            "contact",
            "customer",
            "employee",
            "follow",
            "follower",
            "friend",
        ),
        *(
            "guest",
            "member",
            "organisation",
            "organization",
            "org",
            "owner",
            "patient",
            "person",
            "people",
            "player",
        ),
        *("profile", "seller", "student", "team", "tenant", "u", "user", "visitor", "workspace"),
        *(
            "activate",
            "code",
            "confirm",
            "coupon",
            "gift",
            "invitation",
            "invite",
            "join",
            "key",
            "l",
            "link",
            "magic",
        ),
        *(
            "password",
            "promo",
            "r",
            "redeem",
            "referral",
            "reset",
            "s",
            "secret",
            "session",
            "share",
            "token",
        ),
        *("unsubscribe", "verify", "voucher"),
        *(
            "attachment",
            "avatar",
            "doc",
            "document",
            "download",
            "f",
            "file",
            "image",
            "media",
            "photo",
            "picture",
        ),
        *(
            "upload",
            "booking",
            "invoice",
            "order",
            "parcel",
            "receipt",
            "shipment",
            "ticket",
            "track",
            "tracking",
        ),
        *("channel", "chat", "company", "device", "domain", "email", "find", "group", "host", "keyword"),
        *(
            "lookup",
            "mail",
            "meet",
            "meeting",
            "phone",
            "project",
            "q",
            "query",
            "repo",
            "repository",
            "room",
        ),
        *("search", "site", "tag", "term", "topic", "wallet"),
    )
)
"""A word after one of these (in either number) names a person, a secret, a file, a record, or is sought."""

_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_VOWEL: Final = re.compile(r"[aeiouy]", re.IGNORECASE)
_PROGRAMS: Final = frozenset(
    ("php", "jsp", "asp", "aspx", "do", "action", "html", "htm", "cgi", "axd")
)  # extensions of programs and pages; JSON and XML are data, which may be a client's
_MOST_PARTS: Final = (
    2  # of a word of no list: with more of them it is a title or a phrase that a client chose
)


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    text = Path(__file__).with_name("known_words.txt").read_text(encoding="utf-8")
    return frozenset(text.split())


@lru_cache(maxsize=50_000)
def is_known(word: str) -> bool:
    """Whether every part of a word is in the list: `order-items`, `getCustomer`, `export.csv`, `v2`."""
    parts = _PARTS.findall(word)
    return bool(parts) and all(_in_list(part.lower()) for part in parts)


def _in_list(part: str) -> bool:
    return any(form in _known() for form in _singulars(part))


def _singulars(part: str) -> tuple[str, ...]:
    forms = [part]
    if part.endswith("s"):
        forms.append(part[:-1])
    if part.endswith("es"):
        forms.append(part[:-2])
    if part.endswith("ies"):
        forms.append(f"{part[:-3]}y")
    return tuple(forms)


def is_personal(before: str) -> bool:
    """Whether what comes after this word belongs to a client."""
    parts = _PARTS.findall(before)
    return bool(parts) and any(form in PERSONAL for form in _singulars(parts[-1].lower()))


def never_a_word(word: str, before: str) -> bool:
    """Whether a word is a value however many ask for it, because of its looks or of the word before it."""
    if is_known(word):
        return False
    if is_personal(before):
        return True
    stem, dot, extension = word.rpartition(".")
    service = stem.islower() and extension[:1].isupper()  # of gRPC: shop.Carts
    if dot and not service and extension.lower() not in _PROGRAMS:
        return True  # the name of a file, a host or a person
    if len(re.findall(r"[^._-]+", stem if dot else word)) > _MOST_PARTS:
        return True
    letters = re.sub(r"[^A-Za-z]", "", stem if dot else word)
    return len(letters) >= 4 and (letters.isupper() or not _VOWEL.search(letters))
