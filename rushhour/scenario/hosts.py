"""Where load may go (pure)."""

import ipaddress
from urllib.parse import urlsplit


def check_host(url: str, allow_host: str | None = None) -> list[str]:
    """Problems with a target: anything but this machine's loopback needs its host named in `allow_host`."""
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
    """Whether a host is this machine by its very name; names are not looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
