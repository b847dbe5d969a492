"""Rule files through the real promtool: `for`, `keep_firing_for`, odd labels, complaints, what ships."""

import shutil
from pathlib import Path

import pytest

from rushhour.alarms.policies import load_policies
from rushhour.alarms.prometheus import PrometheusPolicy
from rushhour.alarms.promtool import PromtoolError, Question, Series, firing
from rushhour.alarms.study import Scale, study
from rushhour.errors import UsageError
from tests.unit.test_alarms_audit import minute
from tests.unit.test_alarms_cloudwatch import timeline

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: make alert-tools")


def question(rule: str, *series: Series, to_s: int = 120) -> Question:
    text = f"groups:\n  - name: g\n    rules:\n      - {rule}\n"
    return Question((text,), series, 5000, 5000, 0, to_s * 1000)


def seconds(asked: Question) -> list[int]:
    return [at_ms // 1000 for at_ms, _ in firing(asked)]


def test_for_and_keep_firing_for_count_as_documented() -> None:
    burst = Series("x", "0x3 1x5 0x20")  # above zero from 20 s to 45 s
    assert seconds(question("{ alert: A, expr: x > 0 }", burst)) == list(range(20, 50, 5))
    assert seconds(question("{ alert: A, expr: x > 0, for: 10s }", burst)) == list(range(30, 50, 5))
    # The first absent evaluation is at 50 s, and it is kept until 20 s after that.
    kept = seconds(question("{ alert: A, expr: x > 0, keep_firing_for: 20s }", burst))
    assert kept == list(range(20, 70, 5))
    assert seconds(question("{ alert: A, expr: x > 0, for: 1m }", burst)) == []


def test_odd_labels_come_back_whole() -> None:
    odd = Series('x{path="/a}b, c=\\"d\\"", n="é"}', "1x20")
    [labels] = {
        alert for _, alerts in firing(question("{ alert: A, expr: x > 0 }", odd, to_s=10)) for alert in alerts
    }
    assert labels == (("alertname", "A"), ("n", "é"), ("path", '/a}b, c="d"'))


def test_rules_that_cannot_be_evaluated_are_unknown_with_promtools_words(tmp_path: Path) -> None:
    two = (Series('x{a="1"}', "1x20"), Series('x{a="2"}', "1x20"))
    with pytest.raises(PromtoolError, match=r"could not evaluate the rules: .*(duplicate|many-to-many)"):
        firing(question('{ alert: A, expr: "x / on() x > 0" }', *two, to_s=10))


def test_a_rule_file_that_promtool_refuses_is_reported_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(increase(x[5m]) >\n"
        "  - alert: B\n    expr: up ==\n"
    )
    (tmp_path / "p.yaml").write_text("system: prometheus\nalarms: { p: { rules: [r.yml] } }\n")
    with pytest.raises(UsageError) as caught:
        load_policies([tmp_path / "p.yaml"])
    assert [problem.split("r.yml:")[1].split(":")[0] for problem in caught.value.problems] == ["5", "7"]


def test_the_shipped_rules_notify_once_of_the_incident_and_repeatedly_of_the_pool() -> None:
    evening = study(load_policies([ROOT / "infra/alerts/prometheus.yaml"]), minute(), Scale())
    incident, pool = evening.audits
    assert (len(incident.pages), incident.sleeps) == (1, True)
    assert incident.unannounced > 0.98 * evening.failures
    assert not pool.sleeps
    assert max(b.t_s - a.t_s for a, b in zip(pool.pages, pool.pages[1:], strict=False)) <= 900
    [advice] = evening.advice
    assert advice.closes
    healthy = study(load_policies([ROOT / "infra/alerts/prometheus.yaml"]), timeline({}, 75), Scale())
    assert [audit.notifications for audit in healthy.audits] == [(), ()]


def test_a_long_ratio_does_not_go_off_early_after_healthy_traffic(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(rate(http_requests_5xx_total[6h]))"
        " / sum(rate(http_requests_total[6h])) > 0.006\n"
    )
    policy = PrometheusPolicy(name="p", rules=(str(tmp_path / "r.yml"),), evaluation_interval=60.0)
    failing = timeline(dict.fromkeys(range(0, 3600, 10), 1), 3600)  # one in a hundred, for an hour of the six
    assert policy.replay(failing).firing == ()
    longer = timeline(dict.fromkeys(range(0, 18_000, 10), 1), 18_000)
    [(start_s, _)] = policy.replay(longer).firing
    assert start_s == pytest.approx(0.6 * 6 * 3600, abs=120)  # six hours, of which the share has failed
