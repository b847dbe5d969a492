"""`rushhour drill hotfix --stack embedded`, in a small form: real processes, a real leak, a real cure."""

import json
from pathlib import Path

import pytest

from rushhour.cli import main
from tests.judged_runs import ATTEMPTS

ROOT = Path(__file__).parents[2]


def drill(runs: Path, *arguments: str) -> tuple[int, Path]:
    with pytest.raises(SystemExit) as ended:
        main(
            [
                *("drill", "hotfix", "--stack", "embedded", "--scenario", "smoke-leak", "--services", "3"),
                *("--scenarios", str(ROOT / "scenarios.yaml"), "--runs", str(runs), *arguments),
            ]
        )
    found = sorted(runs.glob("*-drill-hotfix"))
    assert isinstance(ended.value.code, int)
    return ended.value.code, found[-1] if found else runs


@pytest.mark.long
@pytest.mark.alone
def test_the_embedded_drill_cures_and_touches_no_sibling(cache: Path, tmp_path: Path) -> None:
    """By an update; here a rollback only starts another release (tests/unit/test_drill_command.py)."""
    for _ in range(ATTEMPTS):
        code, folder = drill(tmp_path, "--by", "update")
        told = json.loads((folder / "drill.json").read_text(encoding="utf-8"))
        if told["outcome"] != "unknown":
            break
    assert (told["outcome"], told["reasons"]) == ("proven", [])
    assert code == 0
    assert [change["what"] for change in told["changes"]] == ["untouched"] * 3
    assert told["target_change"]["what"] == "restarted"
    target = next(item for item in told["after"] if item["name"] == "referrals")
    assert {instance["image"] for instance in target["instances"]} == {"1.1.1"}
    assert told["figures"]["timeouts_before"] >= 3
    assert told["figures"]["quiet_s"] >= 5
    assert told["figures"]["drained_s"] is not None
    siblings = [item for item in [*told["before"], *told["after"]] if item["name"] != "referrals"]
    assert [sibling["answer"] for sibling in siblings] == [
        "HTTP 200"
    ] * 6  # the exhausted one may answer 503 before
    assert all((folder / name).stat().st_size for name in ("report.html", "summary.md", "junit.xml"))


def test_options_that_need_an_engine_are_refused(cache: Path, tmp_path: Path) -> None:
    code, _ = drill(tmp_path, "--by", "stack-deploy", "--hotfix-image", "shop/app:2")
    assert code == 64
    assert list(tmp_path.iterdir()) == []
