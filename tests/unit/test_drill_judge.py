"""The drill's judgement: snapshots and a history in, proof or its lack out."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushhour.jobs.drill.facts import Drill
from rushhour.jobs.drill.figures import figures_of
from rushhour.jobs.drill.judge import judge
from rushhour.jobs.drill.page import headline, junit, markdown, page, rows, touched
from rushhour.jobs.drill.proof import compare
from rushhour.jobs.drill.side_by_side import bars, comparison
from rushhour.jobs.drill.side_by_side import page as together
from rushhour.metrics.latencies import new_histogram
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.rundir.facts import By, Instance, Rollout, ServiceState

ROLLOUT = Rollout("update", "docker service update …", "sha256:new", 20.0, 26.0, "completed")


def service(name: str, **changes: object) -> ServiceState:
    instance = Instance(f"task-{name}", f"container-{name}", "2026-01-01T00:00:00Z", "sha256:old")
    state = ServiceState(name, f"id-{name}", 11, "spec", "shop/app:1.1", (instance,), "HTTP 200")
    return replace(state, **changes)  # type: ignore[arg-type]


BEFORE = (service("referrals"), service("accounts"), service("search"))
CHANGED = service(
    "referrals",
    version=19,
    spec="new",
    image="sha256:new",
    instances=(Instance("task-2", "container-2", "2026-01-01T00:01:00Z", "sha256:new"),),
)
AFTER = (CHANGED, *BEFORE[1:])


def count(t_s: int, outcome: f.Outcome, number: int) -> f.RequestCount:
    histogram = new_histogram()
    histogram.record_value(5_000, number)
    return f.RequestCount(t_s, "GET /x", outcome, number, histogram.encode().decode())


def sample(t_s: float, leaked: int) -> f.PoolSample:
    return f.PoolSample(t_s, 7, "replica", "QueuePool", 3, 2, 2.0, leaked, leaked, 0, leaked, 1, 5, 9, 9)


def story() -> History:
    """Ten requests a second for 40 s; pool time-outs from 12 to 24, cut connections at 25."""
    requests = [count(t_s, f.Outcome.OK, 10) for t_s in range(40)]
    requests += [count(t_s, f.Outcome.QUEUEPOOL_TIMEOUT, 2) for t_s in range(12, 25)]
    requests.append(count(25, f.Outcome.CONNECT_ERROR, 3))
    return History(
        environment=None,
        requests=tuple(requests),
        pool_timeouts=tuple(
            f.PoolTimeout(t_s + 0.5, 7, "replica", f.CallSite("app/x.py", 1, "x"), "GET /x", 2.0)
            for t_s in range(12, 25)
        ),
        pools=tuple(sample(t_s / 2, 5 if 20 <= t_s < 50 else 0) for t_s in range(80)),
        host=tuple(
            f.HostSample(float(t_s), "replica", 0.4 if t_s < 26 else 0.1, 50.0, 9) for t_s in range(40)
        ),
    )


def drilled(
    by: By = "update",
    rollout: Rollout = ROLLOUT,
    after: tuple[ServiceState, ...] = AFTER,
    history: History | None = None,
) -> Drill:
    rollout = replace(rollout, by=by)
    return judge(
        stack="swarm",
        target="referrals",
        release="1.1",
        hotfix="1.1.1",
        rollout=rollout,
        figures=figures_of(history or story(), rollout, 40.0),
        before=BEFORE,
        after=after,
    )


def test_the_figures_count_from_the_command() -> None:
    figures = figures_of(story(), ROLLOUT, 40.0)
    assert figures.timeouts_before == 8
    assert figures.http_5xx_before == 16
    assert figures.last_timeout_s == 4.5
    assert figures.http_5xx_zero_s == 5.0  # the last one ended in the second that ends at 25
    assert figures.drained_s == 4.5
    assert figures.rollout_s == 6.0
    assert figures.lost_in_rollout == 3
    assert figures.http_5xx_in_rollout == 10
    assert (figures.quiet_s, figures.requests_quiet) == (15.0, 153)
    assert (figures.replica_cores_before, figures.replica_cores_after) == (0.4, 0.1)


def test_a_cure_that_touches_nothing_else_is_proven() -> None:
    drill = drilled()
    assert (drill.outcome, drill.reasons) == ("proven", ())
    assert drill.target_change is not None
    assert drill.target_change.what == "restarted"
    assert touched(drill).startswith("referrals restarted; 2 others: 2 untouched, 0 rewritten")
    assert drill.mutable == ("accounts", "search")
    assert headline(drill) == "Hotfix 1.1.1 (by update) cured referrals and touched no other service"


def test_silence_is_no_cure() -> None:
    """A service that hangs answers no 5xx."""
    whole = story()
    hung = replace(whole, requests=tuple(row for row in whole.requests if row.t_s < 31))
    drill = drilled(history=hung)
    assert drill.outcome == "not proven"
    assert drill.reasons == (
        "No request ended in the last 9 s of the load: no 5xx there is no cure, the service hangs",
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "other"),
        ("container", "other"),
        ("started_at", "later"),
        ("image", "sha256:x"),
        ("restarts", 1),
    ],
)
def test_a_sibling_that_was_restarted_is_named(field: str, value: object) -> None:
    instance = replace(BEFORE[1].instances[0], **{field: value})  # type: ignore[arg-type]
    drill = drilled(after=(CHANGED, replace(BEFORE[1], instances=(instance,)), BEFORE[2]))
    assert drill.outcome == "not proven"
    assert drill.reasons[0].startswith("accounts was restarted: ")


def test_a_definition_written_anew_counts_unless_the_whole_stack_was_deployed() -> None:
    rewritten = (CHANGED, replace(BEFORE[1], version=23), BEFORE[2])
    assert drilled(after=rewritten).reasons == ("accounts was rewritten: version 11 -> 23",)
    deployed = drilled("stack-deploy", after=rewritten)
    assert headline(deployed) == (
        "Hotfix 1.1.1 (by stack-deploy) cured referrals and restarted no other service; "
        "it wrote the definitions of 1 anew"
    )
    assert deployed.outcome == "proven"
    assert "1 rewritten" in touched(deployed)


def test_a_sibling_that_is_gone_or_silent_is_no_proof() -> None:
    assert drilled(after=AFTER[:2]).reasons == ("search was restarted: is gone",)
    silent = (CHANGED, replace(BEFORE[1], answer=None), BEFORE[2])
    assert drilled(after=silent).reasons == ("1 siblings did not answer after the hotfix: accounts",)


def test_a_bad_hotfix_that_was_rolled_back_is_reported() -> None:
    drill = drilled(rollout=replace(ROLLOUT, state="rolled back", detail="task: unhealthy"))
    assert drill.outcome == "not proven"
    assert drill.reasons[0].startswith("The hotfix never became healthy and was rolled back by itself")
    assert headline(drill) == "Hotfix 1.1.1 (by update) was rolled back by itself"


def test_errors_to_the_end_are_no_cure() -> None:
    told = story()
    drill = drilled(history=replace(told, requests=(*told.requests, count(38, f.Outcome.HTTP_5XX, 1))))
    assert drill.outcome == "not proven"
    assert drill.reasons[0].startswith("HTTP 5xx did not stay at zero: 1 s without one")


def test_a_pool_that_stays_leaked_is_no_cure() -> None:
    told = story()
    drill = drilled(history=replace(told, pools=(*told.pools, sample(39.9, 5))))
    assert drill.figures is not None
    assert drill.figures.drained_s is None
    assert any("not drained" in reason for reason in drill.reasons)


def test_without_exhaustion_before_it_is_unknown() -> None:
    quiet = replace(
        story(),
        pool_timeouts=(),
        requests=tuple(row for row in story().requests if row.outcome is f.Outcome.OK),
        pools=tuple(sample(t_s / 2, 0) for t_s in range(80)),
    )
    assert drilled(history=quiet).outcome == "unknown"


def test_a_tag_that_moved_since_a_sibling_started_is_distinguished() -> None:
    own = AFTER[1].instances[0].image
    still, moved = replace(AFTER[1], means=own), replace(AFTER[2], means="sha256:rebuilt")
    drill = drilled(after=(replace(CHANGED, means="sha256:old"), still, moved))
    assert drill.mutable == (still.name, moved.name)
    assert drill.moved == (moved.name,)  # the target is pinned by its digest
    assert f"it has moved since {moved.name} started" in markdown(drill)
    assert "It has moved already" in page(drill, story())
    assert "moved" not in markdown(drilled())
    pinned = replace(moved, image="sha256:old")
    assert drilled(after=(CHANGED, still, pinned)).moved == ()  # a digest does not move


def test_every_form_of_the_report_has_the_same_content() -> None:
    drill = drilled()
    text = markdown(drill)
    assert all(name in text for name, _ in rows(drill))
    html = page(drill, story())
    assert "Latent blast radius" in html
    assert "container-ac" in html
    assert 'failures="0"' in junit([drill])
    assert 'failures="1"' in junit([drilled(after=AFTER[:2])])


def test_several_ways_stand_side_by_side() -> None:
    never = drilled("rollback", history=replace(story(), pools=tuple(sample(t_s, 5) for t_s in range(40))))
    both = [drilled(), never]
    assert {len(row) for row in comparison(both)} == {3}
    drained = dict(bars(both))["command to pool drained"]
    assert [(way, seconds) for way, _, seconds, _ in drained] == [("update", 4.5), ("rollback", None)]
    # The longest of all times, the roll-out's 6 s, is as long as the picture is wide.
    assert dict(bars(both))["command to roll-out's end"][0][3] == 100.0
    assert drained[0][3] == pytest.approx(75.0)
    html = together(both, [Path("a/report.html"), Path("b/report.html")])
    assert "a/report.html" in html
    assert ">never<" in html
    assert html.count(ROLLOUT.command) == 2


def test_a_drill_that_never_came_to_the_hotfix_has_no_bar() -> None:
    undone = replace(drilled(), rollout=None, figures=None, outcome="unknown")
    assert bars([undone]) == []
    assert "never" not in together([undone], [Path("a/report.html")])


@given(st.permutations(BEFORE))
def test_order_does_not_matter(shuffled: list[ServiceState]) -> None:
    assert {item.what for item in compare(BEFORE, shuffled)} == {"untouched"}
