"""The command line of a process, as it may be written into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MASK = "***"
_WITHIN = ("passw", "passphrase", "secret", "token", "credential", "authorization", "apikey")
_PARTS = frozenset({"pwd", "pass", "auth", "dsn", "salt", "cookie", "key", "keys", "pgpass"})


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """Without passwords in URLs, and without what follows `--password` and its like."""
    shown: list[str] = []
    is_value = False
    for argument in arguments:
        if is_value and not argument.startswith("-"):
            shown.append(MASK)
            is_value = False
            continue
        name, equals, _ = argument.partition("=")
        secret = _is_secret(name)
        is_value = secret and not equals and argument.startswith("-")
        shown.append(f"{name}={MASK}" if secret and equals else _without_password(argument))
    return shown


def _is_secret(name: str) -> bool:
    if "/" in name or " " in name:
        return False
    plain = name.lower().lstrip("-").replace("-", "_")
    return any(word in plain for word in _WITHIN) or not _PARTS.isdisjoint(plain.split("_"))


def _without_password(argument: str) -> str:
    """Each URL's, as far as the last @ before its path."""
    parts = argument.split("://")
    for at in range(1, len(parts)):
        authority, slash, rest = parts[at].partition("/")
        login, found, host = authority.rpartition("@")
        user, colon, _ = login.partition(":")
        if found and colon:
            parts[at] = f"{user}:{MASK}@{host}{slash}{rest}"
    return "://".join(parts)
