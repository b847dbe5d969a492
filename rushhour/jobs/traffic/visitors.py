"""Visitors as salted hashes of their session keys, and what kind of program an agent is."""

import re
from hashlib import blake2b
from typing import Final

import crawleruseragents

from rushhour.jobs.traffic.options import SessionKey
from rushhour.jobs.traffic.record import AgentKind

_CACHED: Final = 100_000  # keys; some 30 MB
_LONGEST_AGENT: Final = 512
_NO_KEY: Final = {"-", "REDACTED"}  # Caddy hides cookies and authorization
# Probes of load balancers, orchestrators and monitoring, which lists of crawlers do not have.
_PROBES: Final = (
    r"^kube-probe/",
    r"^ELB-HealthChecker/",
    r"^GoogleHC/",
    r"^Envoy/HC",
    r"^Prometheus/",
    r"^Blackbox[ -]Exporter",
    r"^Consul Health Check",
    r"^Amazon-Route53-Health-Check-Service",
    r"^HealthCheck/",
    r"^Edge Health Probe",
    r"^check_http/",
)
_LIBRARY: Final = "http-library"  # curl, requests, okhttp: programs of customers as much as of anybody


def _bots() -> re.Pattern[str]:
    known = [
        entry["pattern"]
        for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA
        if set(entry.get("tags", ())) != {_LIBRARY}
    ]
    return re.compile("|".join(f"(?:{pattern})" for pattern in [*_PROBES, *known]))


class Agents:
    """Tells known crawlers and probes from other agents; asks each agent's name once."""

    def __init__(self) -> None:
        self._bots = _bots()
        self._kinds: dict[str, AgentKind] = {}

    def kind(self, agent: str | None) -> AgentKind:
        if not agent or agent == "-":
            return "unknown"
        kind = self._kinds.get(agent)
        if kind is None:
            if len(self._kinds) >= _CACHED:
                self._kinds.clear()
            kind = self._kinds[agent] = "bot" if self._bots.search(agent[:_LONGEST_AGENT]) else "client"
        return kind


class Visitors:
    """Gives each session key a salted hash; the same key gets the same hash within one reading."""

    def __init__(self, session: SessionKey, salt: bytes) -> None:
        self.keyed = 0  # requests that had what was asked for
        self.unkeyed = 0  # requests that are known by address and agent instead
        self._session = session
        self._salt = salt[:16]  # what blake2b takes
        self._user_counts = session.kind in {"auto", "user"}
        self._hashes: dict[str, str] = {}

    def visitor(self, address: str, user: str | None, agent: str | None, key: str | None) -> str:
        """16 hex digits."""
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
            known_by = f"{address}\0{agent}"
        hashed = self._hashes.get(known_by)
        if hashed is None:
            if len(self._hashes) >= _CACHED:
                self._hashes.clear()
            text = known_by.encode("utf-8", "surrogatepass")
            hashed = blake2b(text, digest_size=8, salt=self._salt).hexdigest()
            self._hashes[known_by] = hashed
        return hashed

    def words(self) -> str:
        """What visitors are told apart by."""
        name = self._session.name
        by = {
            "auto": "a session cookie or user",
            "user": "user",
            "header": f"header {name}",
            "cookie": f"cookie {name}",
        }.get(self._session.kind)
        if self._session.kind == "address":
            return "address"
        if by is None or not self.keyed:
            asked = f" (no request has a {by})" if by and self._session.kind != "auto" else ""
            return f"address and agent{asked}"
        if not self.unkeyed:
            return by
        total = self.keyed + self.unkeyed
        return f"{by}; {self.unkeyed:,} of {total:,} requests without it by address and agent"
