"""Routes, `continue`, inhibitions and time intervals of an alertmanager.yml, against a real Alertmanager."""

from pathlib import Path

from rushhour.alarms.alertmanager import Change, Labels
from rushhour.alarms.formats.alertmanager_yml import read
from rushhour.alarms.formats.documents import documents
from rushhour.alarms.routing import deliveries
from tests.integration.alertmanager_subject import NEEDED, told_of

pytestmark = NEEDED

SECONDS = 14.0
OFF_S = 0.9  # scaled: the model may be wrong by this much
CONFIG = """
route:
  receiver: rest
  group_by: [alertname]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 5s
  routes:
    - receiver: everything
      continue: true
      group_by: ['...']
      repeat_interval: 1h
    - receiver: pager
      match: { severity: page }
      routes:
        - receiver: database
          matchers: ['team=~"db|dba"', 'silent!="yes"']
          group_by: [team]
    - receiver: night
      matchers: [severity=night]
      mute_time_intervals: [always]
    - receiver: day
      match_re: { severity: "da.*" }
      active_time_intervals: [always]
    - receiver: never
      matchers: ['{severity="never"}']
      active_time_intervals: [past]
inhibit_rules:
  - source_matchers: [severity="page"]
    target_matchers: [severity=~"warning|info"]
    equal: [service]
  - source_match: { alertname: Both }
    target_match_re: { alertname: "Both|Other" }
    equal: [service]
time_intervals:
  - name: always
    time_intervals:
      - times: [{ start_time: "00:00", end_time: "24:00" }]
        weekdays: ["monday:friday", saturday, sunday]
        months: ["january:december"]
        days_of_month: ["1:-1"]
  - name: past
    time_intervals: [{ years: ["2001:2002"] }]
receivers:
  - { name: rest, webhook_configs: [{ url: URL }] }
  - { name: everything, webhook_configs: [{ url: URL, send_resolved: false }] }
  - { name: pager, webhook_configs: [{ url: URL }] }
  - { name: database, webhook_configs: [{ url: URL }] }
  - { name: night, webhook_configs: [{ url: URL }] }
  - { name: day, webhook_configs: [{ url: URL }] }
  - { name: never, webhook_configs: [{ url: URL }] }
"""
# (second, labels, fires); no change stands near a tick (1, 3, 5... s after the first alert of a group)
MOVES: list[tuple[float, dict[str, str], bool]] = [
    (0.2, {"alertname": "Errors", "severity": "page", "service": "a"}, True),
    (0.2, {"alertname": "Slow", "severity": "page", "team": "db", "service": "b"}, True),
    (0.2, {"alertname": "Locks", "severity": "page", "team": "dba", "service": "b"}, True),
    (0.2, {"alertname": "Quiet", "severity": "page", "team": "db", "silent": "yes", "service": "c"}, True),
    (
        0.2,
        {"alertname": "Waiters", "severity": "warning", "service": "a"},
        True,
    ),  # inhibited while Errors fires
    (0.2, {"alertname": "Waiters", "severity": "warning", "service": "z"}, True),  # of another service
    (0.2, {"alertname": "Both", "severity": "x", "service": "q"}, True),  # source and target: not by itself
    (0.2, {"alertname": "Other", "severity": "x", "service": "q"}, True),
    (0.2, {"alertname": "Night", "severity": "night"}, True),
    (0.2, {"alertname": "Day", "severity": "day"}, True),
    (0.2, {"alertname": "Never", "severity": "never"}, True),
    (6.2, {"alertname": "Errors", "severity": "page", "service": "a"}, False),
    (8.2, {"alertname": "Other", "severity": "x", "service": "q"}, False),
    (8.2, {"alertname": "Slow", "severity": "page", "team": "db", "service": "b"}, False),
]


def labels(plain: dict[str, str]) -> Labels:
    return tuple(sorted(plain.items()))


def test_it_delivers_what_the_real_one_delivers_and_to_whom(tmp_path: Path) -> None:
    [document] = documents(tmp_path / "alertmanager.yml", CONFIG.replace("URL", "'http://127.0.0.1:9/'"))
    configuration, problems = read(document, "alertmanager.yml")
    assert problems == []
    assert configuration is not None
    changes = [Change(at, labels(item), on) for at, item, on in MOVES]
    started_s, epoch_s, notified = told_of(
        changes, SECONDS, lambda port: CONFIG.replace("URL", f"'http://127.0.0.1:{port}/'"), tmp_path
    )
    predicted = deliveries(changes, configuration, SECONDS, epoch_s)
    cut_s = SECONDS - OFF_S
    receivers = {item.node.receiver for item in predicted}
    # `everything` takes each alert, so none is left for the first route, whatever else it matches.
    assert receivers == {"everything", "pager", "database", "day"}
    assert receivers == {item.receiver for item in notified}
    for receiver in receivers:
        real = sorted(
            (item.at_s - started_s, sorted(item.firing), sorted(item.resolved))
            for item in notified
            if item.receiver == receiver and item.at_s - started_s < cut_s
        )
        own = sorted(
            (item.sent.t_s, sorted(item.sent.firing), sorted(item.sent.resolved))
            for item in predicted
            if item.node.receiver == receiver and item.sent.t_s < cut_s
        )
        assert sorted((item[1:] for item in real), key=str) == sorted((item[1:] for item in own), key=str), (
            receiver
        )
        assert all(abs(a[0] - b[0]) < OFF_S for a, b in zip(real, own, strict=True)), receiver
