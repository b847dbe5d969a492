"""Visitors as salted hashes of their session keys."""

import re
from hashlib import blake2b
from typing import Final
from urllib.parse import unquote

from rushhour.jobs.traffic.options import SessionKey

_CACHED: Final = 100_000  # keys; some 30 MB, 70 MB at most
_LONGEST_KEPT: Final = 512
_USERS: Final = 50_000
_SEPARATORS: Final = re.compile(r"[\W_]+")
_SHORTEST_PART: Final = 3  # of a segment, to be taken for a user's name
_NO_ADDRESS: Final = "-"
_NO_KEY: Final = {"-", "REDACTED"}  # Caddy hides cookies and authorization


class Visitors:
    """Gives each session key a salted hash; the same key gets the same hash within one reading."""

    def __init__(self, session: SessionKey, salt: bytes) -> None:
        self.keyed = 0  # requests that had what was asked for
        self.unkeyed = 0  # requests that are known by address and agent instead
        self._session = session
        self._salt = salt[:16]  # what blake2b takes
        self._user_counts = session.kind in {"auto", "user"}
        self._hashes: dict[str, str] = {}
        self._users: set[str] = set()  # as the log has them; those that no longer fit are not known
        self._addresses = False  # a line had one
        self._names: set[str] = set()  # of users, in small letters without what separates words

    def visitor(self, address: str, user: str | None, agent: str | None, key: str | None) -> str:
        """16 hex digits. Requests without an address are of one visitor: an agent tells nobody apart."""
        if user and user != "-" and user not in self._users and len(self._users) < _USERS:
            self._users.add(user[:_LONGEST_KEPT])
        if key and key not in _NO_KEY:
            self.keyed += 1
            known_by = "key\0" + key
        elif self._user_counts and user and user != "-":
            self.keyed += 1
            known_by = "user\0" + user
        elif self._session.kind == "address":
            known_by = address
        else:
            self.unkeyed += 1
            known_by = address if address == _NO_ADDRESS else f"{address}\0{agent}"
        hashed = self._hashes.get(known_by)
        if hashed is None:
            self._addresses = self._addresses or address != _NO_ADDRESS
            if len(known_by) > _LONGEST_KEPT:
                return self._hashed(known_by)
            if len(self._hashes) >= _CACHED:
                self._hashes.clear()
            hashed = self._hashes[known_by] = self._hashed(known_by)
        return hashed

    def is_user(self, segment: str) -> bool:
        """Whether a segment of a path, or a part of it, is the name of a user who was seen.

        `ada-lovelace` is the user "Ada Lovelace", and so are their name before an @ and behind a domain.
        """
        if not self._names and self._users:
            for user in self._users:
                name = user.rpartition("\\")[2]
                self._names |= {_letters(name), _letters(name.partition("@")[0])}
            self._names.discard("")
        text = unquote(segment)
        parts = [part for part in _SEPARATORS.split(text) if len(part) >= _SHORTEST_PART]
        return any(_letters(part) in self._names for part in (text, *parts))

    def _hashed(self, known_by: str) -> str:
        text = known_by.encode("utf-8", "surrogatepass")
        return blake2b(text, digest_size=8, salt=self._salt).hexdigest()

    def words(self) -> str:
        """What visitors are told apart by."""
        name = self._session.name
        by = {
            "auto": "a session cookie or user",
            "user": "user",
            "header": f"header {name}",
            "cookie": f"cookie {name}",
        }.get(self._session.kind)
        if not self._addresses and not self.keyed:
            return "nothing, since no line has an address"
        if self._session.kind == "address":
            return "address"
        if by is None or not self.keyed:
            asked = f" (no request has a {by})" if by and self._session.kind != "auto" else ""
            return f"address and agent{asked}"
        if not self.unkeyed:
            return by
        total = self.keyed + self.unkeyed
        return f"{by}; {self.unkeyed:,} of {total:,} requests without it by address and agent"


def _letters(name: str) -> str:
    return _SEPARATORS.sub("", name.casefold())
