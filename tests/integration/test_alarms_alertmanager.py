"""The modelled pipeline against a real Alertmanager: a dozen timelines at once, an hour scaled to seconds."""

from pathlib import Path

from rushhour.alarms.alertmanager import Change, Labels, Route, Sent, notifications
from tests.integration.alertmanager_subject import NEEDED, Told, told_of

pytestmark = NEEDED

EVALUATION_S = 1.0  # scaled: the model may be wrong by this much
SECONDS = 15.0
ROUTE = Route(("timeline",), group_wait_s=1.0, group_interval_s=2.0, repeat_interval_s=5.0)
QUIET = Route(
    ("timeline",), group_wait_s=1.0, group_interval_s=2.0, repeat_interval_s=5.0, send_resolved=False
)

# Per timeline: (second, alert, fires). No change stands near a tick (1, 3, 5... seconds after the first
# alert), since there the real one is a race.
TIMELINES: dict[str, list[tuple[float, str, bool]]] = {
    "lasts": [(0.2, "a", True)],
    "ends": [(0.2, "a", True), (4.6, "a", False)],
    "ends-in-the-wait": [(0.2, "a", True), (0.7, "a", False)],
    "flaps-unseen": [(0.2, "a", True), (1.7, "a", False), (2.6, "a", True)],
    "flaps-seen": [
        (0.2, "a", True),
        (2.2, "a", False),
        (4.2, "a", True),
        (6.2, "a", False),
        (8.2, "a", True),
    ],
    "flaps-fast": [(0.2 + 0.4 * n, "a", n % 2 == 0) for n in range(21) if (0.4 * n) % 2 != 1],
    "second-joins": [(0.2, "a", True), (1.8, "b", True)],
    "second-joins-in-the-wait": [(0.2, "a", True), (0.7, "b", True), (7.8, "b", False)],
    "one-of-two-ends": [(0.2, "a", True), (0.2, "b", True), (3.8, "a", False)],
    "one-of-two-returns": [(0.2, "a", True), (0.2, "b", True), (3.8, "b", False), (6.2, "b", True)],
    "both-end-one-by-one": [(0.2, "a", True), (0.2, "b", True), (3.8, "a", False), (7.8, "b", False)],
    "replaced": [(0.2, "a", True), (3.8, "a", False), (3.8, "b", True)],
    "comes-back-late": [(0.2, "a", True), (3.8, "a", False), (9.8, "a", True)],
    "begins-late": [(6.7, "a", True), (12.5, "a", False)],
}


def changes(kind: str) -> list[Change]:
    """All timelines as what Alertmanager hears; `kind` chooses the receiver that wants no ends."""
    return [
        Change(t_s, labels(kind, timeline, alert), firing)
        for timeline, moves in TIMELINES.items()
        for t_s, alert, firing in moves
    ]


def labels(kind: str, timeline: str, alert: str) -> Labels:
    return tuple(sorted({"alertname": alert, "kind": kind, "timeline": f"{kind}/{timeline}"}.items()))


def config(port: int) -> str:
    url = f"http://127.0.0.1:{port}/"
    receivers = [
        f"  - {{name: {name}, webhook_configs: [{{url: '{url}', send_resolved: {resolved}}}]}}"
        for name, resolved in (("loud", "true"), ("quiet", "false"))
    ]
    return "\n".join(
        [
            "route:",
            "  receiver: loud",
            f"  group_by: [{ROUTE.group_by[0]}]",
            f"  group_wait: {ROUTE.group_wait_s:g}s",
            f"  group_interval: {ROUTE.group_interval_s:g}s",
            f"  repeat_interval: {ROUTE.repeat_interval_s:g}s",
            "  routes: [{receiver: quiet, matchers: [kind=quiet]}]",
            "receivers:",
            *receivers,
        ]
    )


def in_short(sent: Sent | Told) -> tuple[frozenset[Labels], frozenset[Labels]]:
    return sent.firing, sent.resolved


def test_notifications_and_their_times_match_a_real_alertmanager(tmp_path: Path) -> None:
    loud, quiet = changes("loud"), changes("quiet")
    started_s, _, notified = told_of([*loud, *quiet], SECONDS, config, tmp_path)
    told = [item for item in notified if item.at_s - started_s <= SECONDS]
    margin_s = EVALUATION_S / 2
    predicted = notifications(loud, ROUTE, SECONDS) + notifications(quiet, QUIET, SECONDS)
    for kind in ("loud", "quiet"):
        for timeline in TIMELINES:
            name = f"{kind}/{timeline}"
            real = [item for item in told if item.timeline == name]
            mine = [item for item in predicted if dict(item.group)["timeline"] == name]
            # One at the very end may be told just after it.
            cut_s = SECONDS - margin_s
            real = [item for item in real if item.at_s - started_s < cut_s]
            mine = [item for item in mine if item.t_s < cut_s]
            assert [in_short(item) for item in real] == [in_short(item) for item in mine], name
            off_s = [item.at_s - started_s - two.t_s for item, two in zip(real, mine, strict=True)]
            assert all(abs(off) < EVALUATION_S for off in off_s), (name, off_s)
    assert sum(item.timeline.startswith("loud") for item in told) > 30
