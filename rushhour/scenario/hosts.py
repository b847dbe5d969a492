"""Decides which hosts may receive load (pure)."""

import ipaddress
from urllib.parse import urlsplit


def check_host(url: str, allow_host: str | None = None) -> list[str]:
    """Return the problems of a target URL; `allow_host` must name any host other than loopback."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises when it is not a number from 0 to 65535
    except ValueError as error:
        return [f"{url!r} is not a URL: {error}"]
    if parts.scheme not in ("http", "https") or not host:
        return [f"{url!r} is not a target; write http://HOST:PORT"]
    if is_loopback(host) or (allow_host is not None and host == allow_host.lower()):
        return []
    return [
        f"{url} is not this machine, and load can take a server down; use --allow-host {host} if it is yours"
    ]


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address or localhost; no name is resolved."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
