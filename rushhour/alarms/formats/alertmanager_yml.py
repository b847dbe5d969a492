"""`alertmanager.yml`, and Grafana's notification policies, which have the same routes (pure)."""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushhour.alarms.alertmanager import Route
from rushhour.alarms.formats.documents import flag, spelled
from rushhour.alarms.formats.time_intervals_yml import Places, read_intervals
from rushhour.alarms.promtool import is_duration, milliseconds
from rushhour.alarms.routing import Configuration, Inhibition, Matcher, Node
from rushhour.alarms.selectors import check_matcher
from rushhour.alarms.time_intervals import TimeInterval
from rushhour.scenario.yaml_node import Node as Document

MAX_DEPTH: Final = 50
SHORTEST_S: Final = 1.0
_MATCHER: Final = re.compile(
    r"\s*(?P<name>\"(?:[^\"\\]|\\.)*\"|[^\s=!~{},\"]+)\s*(?P<op>=~|!~|!=|=)\s*"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"|[^,\"]*?)\s*(?:,|$)"
)
# What its parser since 0.27 reads of a name or value: quoted with Go's escapes, or bare without these signs.
_MODERN: Final = re.compile(
    r"\"(?:[^\"\\\n]|\\(?:[abfnrtv\\\"]|x[0-7][0-9a-fA-F]|[01][0-7]{2}|u[0-9a-fA-F]{4}))*\"|[^\s{}!=~,\\\"'`]*"
)
# Its keys, as of Alertmanager 0.31. It refuses a file with any other one, and goes on with the one before.
_TOP: Final = frozenset(
    {"global", "templates", "route", "receivers", "inhibit_rules", "time_intervals", "mute_time_intervals"}
    | {"tracing", "limits"}
)
_ROUTE: Final = frozenset(
    {"receiver", "group_by", "group_wait", "group_interval", "repeat_interval", "continue", "routes"}
    | {"match", "match_re", "matchers", "mute_time_intervals", "active_time_intervals"}
)
_INHIBITION: Final = frozenset(
    {"name", "equal"}
    | {f"{side}_{key}" for side in ("source", "target") for key in ("match", "match_re", "matchers")}
)
_INTERVAL: Final = frozenset({"name", "time_intervals"})
_RECEIVER: Final = frozenset(
    {"name"}
    | {
        f"{kind}_configs"
        for kind in (
            *("discord", "email", "incidentio", "jira", "mattermost", "msteams", "msteamsv2", "opsgenie"),
            *("pagerduty", "pushover", "rocketchat", "slack", "sns", "telegram", "victorops", "webex"),
            *("webhook", "wechat"),
        )
    }
)
_OF_NO_FIRST: Final = (
    *("match", "match_re", "matchers", "object_matchers", "continue"),
    *("mute_time_intervals", "active_time_intervals"),
)
# Integrations whose `send_resolved` is false unless it is set.
_NO_ENDS: Final = ("email_configs", "slack_configs", "wechat_configs")


def recognises(plain: Any) -> bool:
    """Return whether this is Alertmanager's configuration."""
    return isinstance(plain, Mapping) and isinstance(plain.get("route"), Mapping) and "receivers" in plain


def recognises_grafana(plain: Any) -> bool:
    """Return whether these are Grafana's notification policies."""
    if not isinstance(plain, Mapping) or not isinstance(plain.get("policies"), list):
        return False
    return not any(isinstance(policy, Mapping) and "conditions" in policy for policy in plain["policies"])


def read(document: Document, path: str) -> tuple[Configuration | None, list[str]]:
    """Return the configuration, and its problems with their lines."""
    reader, plain = _Reader(document, path, _ROUTE), document.plain
    reader.check_keys(plain, (), _TOP)
    intervals: dict[str, tuple[TimeInterval, ...]] = {}
    for key in ("time_intervals", "mute_time_intervals"):
        read_intervals(reader, plain.get(key), (key,), "time_intervals", intervals)
        for at, interval in reader.mappings(plain.get(key), (key,)):
            reader.check_keys(interval, (key, at), _INTERVAL)
    receivers: dict[str, bool] = {}
    ends: dict[str, bool] = {}
    for at, receiver in reader.mappings(plain.get("receivers"), ("receivers",)):
        name = str(receiver.get("name"))
        reader.check_keys(receiver, ("receivers", at), _RECEIVER)
        integrations = [
            (key, item)
            for key in receiver
            if key in _RECEIVER - {"name"}
            for item in reader.items(receiver, key, ("receivers", at))
        ]
        if not receiver.get("name"):
            reader.wrong(("receivers", at), "a receiver has no name")
        if name in receivers:
            reader.wrong(("receivers", at), f"receiver {name} stands there twice")
        receivers[name] = bool(integrations)
        ends[name] = any(
            (flag(item.get("send_resolved")) if isinstance(item, Mapping) else None)
            in (True, None if key not in _NO_ENDS else True)
            for key, item in integrations
        )
    root = reader.route(plain["route"], ("route",), None, ends, "0")
    inhibitions = [
        Inhibition(
            reader.matchers(rule, ("inhibit_rules", at), "source_"),
            reader.matchers(rule, ("inhibit_rules", at), "target_"),
            reader.texts(rule, "equal", ("inhibit_rules", at)),
        )
        for at, rule in reader.mappings(plain.get("inhibit_rules"), ("inhibit_rules",))
    ]
    for at, rule in reader.mappings(plain.get("inhibit_rules"), ("inhibit_rules",)):
        reader.check_keys(rule, ("inhibit_rules", at), _INHIBITION)
    reader.check(root, receivers, intervals)
    found = Configuration(root, tuple(inhibitions), intervals, receivers, path)
    return (None if reader.problems else found), reader.problems


def read_mute_times(
    document: Document, path: str, intervals: dict[str, tuple[TimeInterval, ...]]
) -> list[str]:
    """Add what Grafana calls `muteTimes` by name, and return the problems."""
    reader = _Reader(document, path)
    read_intervals(reader, document.plain.get("muteTimes"), ("muteTimes",), "time_intervals", intervals)
    return reader.problems


def read_grafana(
    document: Document, path: str, intervals: Mapping[str, tuple[TimeInterval, ...]]
) -> tuple[Configuration | None, list[str]]:
    """Read Grafana's first notification policy; contact points without a file are taken to notify.

    `intervals` are the mute times of all its files: each may be in a file of its own.
    """
    reader = _Reader(document, path)
    policies = reader.mappings(document.plain["policies"], ("policies",))
    if len(policies) != 1:
        reader.wrong(("policies",), f"holds {len(policies)} policies; one organisation's is replayed")
        return None, reader.problems
    policy = {"group_by": ["grafana_folder", "alertname"], **policies[0][1]}
    root = reader.route(policy, ("policies", 0), None, {}, "0")
    receivers = {node.receiver: True for node in root.all()}
    reader.check(root, receivers, intervals)
    found = Configuration(root, (), intervals, receivers, path)
    return (None if reader.problems else found), reader.problems


class _Reader(Places):
    """Reads the parts of a document and gathers what is wrong with them.

    `known` are the keys of a route, where any other one makes the whole file invalid.
    """

    def __init__(self, document: Document, path: str, known: frozenset[str] | None = None) -> None:
        super().__init__(document, path)
        self._known = known

    def check_keys(self, plain: Mapping[str, Any], at: tuple[str | int, ...], known: frozenset[str]) -> None:
        """Name the keys that Alertmanager does not know."""
        for key in plain.keys() - known:
            self.wrong((*at, key), f"unknown key {key!r}; known: {', '.join(sorted(known))}")

    def route(
        self,
        plain: Mapping[str, Any],
        at: tuple[str | int, ...],
        above: Node | None,
        ends: Mapping[str, bool],
        name: str,
    ) -> Node:
        """Return a route with its children; what it does not say it has from the one above."""
        before = above.timing if above else Route()
        receiver = str(plain.get("receiver") or (above.receiver if above else ""))
        if not receiver:
            self.wrong(at, "the first route has no receiver")
        if self._known is not None:
            self.check_keys(plain, at, self._known)
        for key in _OF_NO_FIRST if above is None else ():
            if flag(plain.get(key)):
                self.wrong((*at, key), f"the first route takes every alert at any time, so it has no {key}")
        timing = Route(
            self._group_by(plain, at) or before.group_by,  # an empty list is inherited too
            self._seconds(plain, "group_wait", at, before.group_wait_s),
            self._interval(plain, "group_interval", at, before.group_interval_s),
            self._interval(plain, "repeat_interval", at, before.repeat_interval_s),
            ends.get(receiver, True),
        )
        node = Node(
            name=name,
            receiver=receiver,
            timing=timing,
            matchers=self.matchers(plain, at, ""),
            goes_on=flag(plain.get("continue")) is True,
            muted=self.texts(plain, "mute_time_intervals", at),
            active=self.texts(plain, "active_time_intervals", at),
        )
        if len(at) > 2 * MAX_DEPTH:
            self.wrong(at, "its routes are nested too deeply")
            return node
        children = tuple(
            self.route(child, (*at, "routes", number), node, ends, f"{name}.{number}")
            for number, child in self.mappings(plain.get("routes"), (*at, "routes"))
        )
        self._lines[name] = at
        return Node(
            node.name, node.receiver, timing, node.matchers, node.goes_on, node.muted, node.active, children
        )

    def matchers(self, plain: Mapping[str, Any], at: tuple[str | int, ...], side: str) -> tuple[Matcher, ...]:
        """Read `match`, `match_re`, `matchers` and Grafana's `object_matchers`."""
        found: list[Matcher] = []
        for key, op in ((f"{side}match", "="), (f"{side}match_re", "=~")):
            given = plain.get(key) or {}
            if not isinstance(given, Mapping):
                self.wrong((*at, key), f"{key} must be a mapping of labels")
                continue
            found += [
                Matcher(name, op, spelled(self._document, (*at, key, name), value))  # type: ignore[arg-type]
                for name, value in given.items()
            ]
        for text in self._listed(plain.get(f"{side}matchers"), (*at, f"{side}matchers")):
            found += self._parsed(text, (*at, f"{side}matchers"))
        for given in self.items(plain, "object_matchers", at):
            if isinstance(given, list) and len(given) == 3 and given[1] in ("=", "!=", "=~", "!~"):
                found.append(Matcher(str(given[0]), given[1], str(given[2])))
            else:
                self.wrong(
                    (*at, "object_matchers"), f"object_matchers {given!r} is not [label, operator, value]"
                )
        for item in found:
            try:
                check_matcher(item.value, item.op)
            except ValueError as error:
                self.wrong(at, str(error))
        return tuple(found)

    def check(self, root: Node, receivers: Mapping[str, bool], intervals: Mapping[str, Any]) -> None:
        """Whether what the routes name is there."""
        for node in root.all():
            at = self._lines.get(node.name, ())
            if node.receiver and node.receiver not in receivers:
                self.wrong((*at, "receiver"), f"no receiver {node.receiver!r}; known: {', '.join(receivers)}")
            for name in (*node.muted, *node.active):
                if name not in intervals:
                    self.wrong(at, f"no time interval {name!r}; known: {', '.join(intervals) or 'none'}")

    def _listed(self, given: Any, at: tuple[str | int, ...]) -> list[str]:
        if given is None:
            return []
        if isinstance(given, list) and all(isinstance(item, str) for item in given):
            return given
        self.wrong(at, 'matchers must be a list of texts as `severity="page"`')
        return []

    def _parsed(self, text: str, at: tuple[str | int, ...]) -> list[Matcher]:
        inner = text.strip()
        inner = inner[1:-1] if inner.startswith("{") and inner.endswith("}") else inner
        found, position = [], 0
        while position < len(inner):
            match = _MATCHER.match(inner, position)
            if match is None:
                self.wrong(at, f"the matcher {text!r} cannot be read")
                return []
            found.append((match["name"], match["op"], match["value"]))
            position = match.end()
        return _unescaped(found)

    def _group_by(self, plain: Mapping[str, Any], at: tuple[str | int, ...]) -> tuple[str, ...]:
        given = plain.get("group_by")
        if given is not None and not isinstance(given, list):
            self.wrong((*at, "group_by"), "group_by must be a list of labels")
            return ()
        labels = tuple(map(str, given or ()))
        if len(set(labels)) < len(labels) or ("..." in labels and len(labels) > 1):
            self.wrong((*at, "group_by"), "group_by holds a label twice, or another one beside '...'")
        return labels

    def _interval(self, plain: Mapping[str, Any], key: str, at: tuple[str | int, ...], usual: float) -> float:
        """Alertmanager refuses an interval of 0, and replays go by the second."""
        found = self._seconds(plain, key, at, usual)
        if found < SHORTEST_S:
            self.wrong((*at, key), f"{key} {plain.get(key)!r} is less than a second")
            return usual
        return found

    def _seconds(self, plain: Mapping[str, Any], key: str, at: tuple[str | int, ...], usual: float) -> float:
        given = plain.get(key)
        if given is None:
            return usual
        if not is_duration(given):
            self.wrong((*at, key), f"{key} {given!r} is not a duration as 30s, 5m or 4h")
            return usual
        return milliseconds(str(given)) / 1000


def _unescaped(parts: Sequence[tuple[str, str, str]]) -> list[Matcher]:
    """Return matchers as Alertmanager reads a text: by its newer parser, or else by the older one."""
    modern = all(_MODERN.fullmatch(text) for name, _, value in parts for text in (name, value))
    read = _go_text if modern else _classic_text
    return [Matcher(read(name), op, read(value)) for name, op, value in parts]  # type: ignore[arg-type]


def _go_text(text: str) -> str:
    return str(ast.literal_eval(text)) if text.startswith('"') else text


def _classic_text(text: str) -> str:
    """Only three escapes are any: the backslash of `web\\d+` stays."""
    inner = text[1:-1] if text.startswith('"') else text
    return re.sub(r"\\([n\"\\])", lambda match: "\n" if match[1] == "n" else match[1], inner)
