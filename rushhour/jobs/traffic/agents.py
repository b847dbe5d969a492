"""Which agents are known crawlers or probes."""

import re
from typing import Final

import crawleruseragents

from rushhour.jobs.traffic.record import AgentKind

_CACHED: Final = 50_000  # agents; 30 MB at most
_LONGEST_AGENT: Final = 512
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
_CRAWLING: Final = re.compile(
    r"crawl|bot|scrapy|httrack|larbin|colly", re.IGNORECASE
)  # libraries that only crawl
_ESCAPED: Final = re.compile(r"\\([^\w\s])", re.ASCII)
_META: Final = re.compile(r"[\\^$.*+?()\[\]{}|]")
_GRAM: Final = 4


class _Bots:
    """Finds the patterns of known bots in an agent's name.

    Nearly all of some 1,500 patterns are plain text, so that their first characters are looked up among
    those of the name. One regular expression of all of them takes a millisecond for each name.
    """

    def __init__(self) -> None:
        known = [
            entry["pattern"]
            for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA
            if set(entry.get("tags", ())) != {_LIBRARY} or _CRAWLING.search(entry["pattern"])
        ]
        patterns = list(_PROBES)
        self._texts: dict[str, list[str]] = {}
        for pattern in known:
            text = _ESCAPED.sub(r"\1", pattern)
            if len(text) < _GRAM or _META.search(_ESCAPED.sub("", pattern)):
                patterns.append(pattern)
            else:
                self._texts.setdefault(text[:_GRAM], []).append(text)
        self._patterns = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))

    def has(self, agent: str) -> bool:
        grams = {agent[at : at + _GRAM] for at in range(len(agent) - _GRAM + 1)}
        for gram in grams & self._texts.keys():
            if any(text in agent for text in self._texts[gram]):
                return True
        return self._patterns.search(agent) is not None


class Agents:
    """Tells known crawlers and probes from other agents; looks at each agent's name once."""

    def __init__(self) -> None:
        self._bots = _Bots()
        self._kinds: dict[str, AgentKind] = {}

    def kind(self, agent: str | None) -> AgentKind:
        if not agent or agent == "-":
            return "unknown"
        agent = agent[:_LONGEST_AGENT]
        kind = self._kinds.get(agent)
        if kind is None:
            if len(self._kinds) >= _CACHED:
                self._kinds.clear()
            kind = self._kinds[agent] = "bot" if self._bots.has(agent) else "client"
        return kind
