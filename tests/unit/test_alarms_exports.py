"""Exports of incidents: our CSV, CloudWatch's and Grafana's, with ISO timestamps, and parts of them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from rushhour.alarms.audit import audit
from rushhour.alarms.cloudwatch import Actions, CloudWatchAlarm
from rushhour.alarms.exports import of_export
from rushhour.alarms.formats.names import Names, StandsFor
from rushhour.alarms.moments import epoch_of
from rushhour.cli.main import cli
from rushhour.errors import UsageError

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
CONSOLE = (
    '"Id","m1","m2"\n"Label","HTTPCode_Target_5XX_Count","RequestCount"\n"Stat","Sum","Sum"\n"Period","60","60"\n'
    "2026/11/24 12:00:00,,600\n2026/11/24 12:01:00,5,610\n2026/11/24 12:02:00,,605\n"
)
GRAFANA = (
    "sep=;\nTime;errors;answers\n2026-11-24 12:00:00;0;600\n2026-11-24 12:01:00;5;610\n"
    "2026-11-24 12:02:00;0;605\n"
)
# Grafana's own code writes them so, with "Download for Excel" and without, of raw and of formatted times.
GRAFANA_RAW = (
    '\ufeffsep=,\r\n"Time","errors","answers"\r\n'
    f"{NOON * 1000:.0f},,600\r\n{NOON * 1000 + 60000:.0f},5,610\r\n{NOON * 1000 + 120000:.0f},0,605\r\n\r\n"
)
GRAFANA_PLAIN = (
    '\ufeff"Time","errors","answers"\r\n2026-11-24 12:00:00,0,600\r\n2026-11-24 12:01:00,5,610\r\n'
    "2026-11-24 12:02:00,0,605\r\n\r\n"
)
OURS = (
    "timestamp,requests,http_5xx\n2026-11-24T13:00:00+01:00,600,0\n2026-11-24T12:01:00Z,610,5\n"
    "2026-11-24T12:02,605,0\n"
)
NEWEST = "at,requests,http_5xx\n2026-11-24T12:02Z,605,0\n2026-11-24T12:01Z,610,5\n2026-11-24T12:00Z,600,0\n"
EPOCH = f"time,requests,http_5xx\n{NOON:.0f},600,0\n{NOON * 1000 + 60000:.0f},610,5\n{NOON + 120:.0f},605,0\n"
NAMES = Names({"errors": StandsFor("http_5xx"), "answers": StandsFor("requests")})
RESULTS = {
    "MetricDataResults": [
        {
            "Id": "m1",
            "Label": "HTTPCode_Target_5XX_Count",
            "Timestamps": ["2026-11-24T12:01:00+00:00"],
            "Values": [5.0],
        },
        {
            "Id": "m2",
            "Label": "RequestCount",
            "Timestamps": [f"2026-11-24T12:0{minute}:00+00:00" for minute in (2, 1, 0)],
            "Values": [605.0, 610.0, 600.0],
        },
    ]
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("console.csv", CONSOLE),
        ("grafana.csv", GRAFANA),
        ("grafana-raw.csv", GRAFANA_RAW.replace(",,600", ",0,600")),
        ("grafana-plain.csv", GRAFANA_PLAIN),
        ("data.json", json.dumps(RESULTS)),
        ("ours.csv", OURS),
        ("newest.csv", NEWEST),
        ("epoch.csv", EPOCH),
    ],
)
def test_every_export_gives_the_same_timeline(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    read = of_export(file, NAMES)
    assert (read.seconds, read.starts_at) == (180, NOON)
    assert (read.total("requests"), read.total("http_5xx")) == (1815, 5)
    assert read.series["http_5xx"][0] == 0
    assert read.lacks("pool_waiters")


def test_an_empty_cell_of_grafana_is_unknown_and_not_zero(tmp_path: Path) -> None:
    """Where a series has no value at a time, its cell is empty."""
    file = tmp_path / "grafana.csv"
    file.write_text(GRAFANA_RAW)
    read = of_export(file, NAMES)
    assert read.series["http_5xx"][0] is None
    assert (read.total("requests"), read.series["http_5xx"][179]) == (1815, 0)


def test_a_part_of_an_export_is_cut_out(tmp_path: Path) -> None:
    file = tmp_path / "ours.csv"
    rows = [f"2026-11-24T12:{minute:02}Z,600,{minute}" for minute in range(10)]
    file.write_text("\n".join(["at,requests,http_5xx", *rows]))
    read = of_export(file, since=NOON + 120, until=epoch_of("2026-11-24 12:05"))
    assert (read.seconds, read.starts_at, read.total("http_5xx")) == (180, NOON + 120, 2 + 3 + 4)
    with pytest.raises(UsageError, match="has 0 of 10"):
        of_export(file, since=NOON + 9999)
    file.write_text("t_s,requests,http_5xx\n0,1,1\n60,1,1\n")
    with pytest.raises(UsageError, match="need timestamps"):
        of_export(file, since=NOON)


def test_a_column_that_stands_for_nothing_is_asked_for_by_name(tmp_path: Path) -> None:
    file = tmp_path / "grafana.csv"
    file.write_text(GRAFANA)
    with pytest.raises(UsageError) as caught:
        of_export(file)
    assert ["'errors'" in caught.value.problems[0], "'answers'" in caught.value.problems[1]] == [True, True]
    assert all("map it in" in item for item in caught.value.problems)


def alarm(period: float, threshold: float) -> CloudWatchAlarm:
    return CloudWatchAlarm(
        name="a",
        metric="http_5xx",
        period=period,
        threshold=threshold,
        treat_missing_data="notBreaching",
        actions=Actions(alarm=("on-call",)),
    )


def test_a_coarse_row_counts_when_the_system_has_seen_it_and_says_no_more_than_it_knows(
    tmp_path: Path,
) -> None:
    file = tmp_path / "coarse.csv"
    file.write_text("t_s,requests,http_5xx\n0,3000,0\n300,3000,1\n600,3000,0\n900,3000,2\n1200,3000,0\n")
    read = of_export(file)
    any_failure, two_in_five, two_in_one = audit([alarm(60.0, 1), alarm(300.0, 2), alarm(60.0, 2)], read)
    assert any_failure.pages[0].t_s == 600  # the end of the row of one failure
    assert [page.t_s for page in two_in_five.pages] == [1200]
    assert "a row of the export lasts 5 min" in two_in_one.unknown  # both in a minute, or not


@pytest.mark.parametrize(
    "text", ["", "a\n", "{}", "{", "\0", "sep=;\n", "at,http_5xx\nx,1\ny,2\n", "at,requests\n2026-01-01,1\n"]
)
def test_what_is_no_export_is_refused_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text(text)
    with pytest.raises(UsageError):
        of_export(file)


def test_since_without_an_export_is_bad_usage() -> None:
    done = CliRunner().invoke(cli, ["alarms", "runs/x", "--since", "2026-11-24"])
    assert "--timeline" in done.output
    assert done.exit_code != 0


def test_rows_that_are_shorter_than_one_of_the_headers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("t_s,requests,http_5xx\nmore\n0\n60\n")
    with pytest.raises(UsageError, match=r"split\.csv:3: it has not as many cells as the header"):
        of_export(path)


@pytest.mark.parametrize("value", ["1e308", "1e15", "9" * 400, "inf", "-1"])
def test_a_count_beyond_all_bounds_is_refused_with_its_line(value: str, tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(f"t_s,requests,http_5xx\n0,10,0\n60,10,{value}\n120,10,0\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"{path}:3: http_5xx "):
        of_export(path)


def test_a_share_of_the_pool_above_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("t_s,http_5xx,pool_in_use\n0,0,0.5\n60,0,80\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"export\.csv:3: pool_in_use 80 is more than 1"):
        of_export(path)


@pytest.mark.parametrize(
    ("more", "result", "why"),
    [
        ({"NextToken": "x"}, {}, "its NextToken asks for the rest"),
        ({}, {"StatusCode": "PartialData"}, "its StatusCode is PartialData"),
        ({}, {"StatusCode": "Complete", "Label": "HTTPCode_Target_5XX_Count"}, "two results are called"),
    ],
)
def test_a_part_of_an_answer_of_cloudwatch_is_refused(
    more: dict[str, str], result: dict[str, str], why: str, tmp_path: Path
) -> None:
    series = {"Timestamps": ["2026-11-24T18:00:00Z", "2026-11-24T18:01:00Z"], "Values": [5, 6]}
    failures = {"Id": "e", "Label": "HTTPCode_Target_5XX_Count", **series}
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"MetricDataResults": [failures]}), encoding="utf-8")
    assert of_export(path).series["http_5xx"]
    others = [failures, {"Id": "r", "Label": "RequestCount", **series} | result]
    path.write_text(json.dumps({"MetricDataResults": others, **more}), encoding="utf-8")
    with pytest.raises(UsageError, match=why):
        of_export(path)
