"""Logs that are damaged, mixed or strange are read as far as they go, and what was skipped is counted."""

import bz2
import codecs
import gzip
import io
import json
import lzma
import math
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushhour.errors import UsageError
from rushhour.jobs.traffic import reading as module
from rushhour.jobs.traffic.lines import LONGEST_LINE
from rushhour.jobs.traffic.options import ReadingOptions
from rushhour.jobs.traffic.reading import Reading, read
from rushhour.jobs.traffic.record import Logged, Progress, ReadingReport

GOLDEN = Path(__file__).parent / "traffic_logs"


def line(
    second: int, path: str = "/a", status: int = 200, *, host: str = "192.0.2.7", minute: int = 0
) -> str:
    at = f"29/Nov/2026:11:{minute:02}:{second:02} +0000"
    return f'{host} - - [{at}] "GET {path} HTTP/1.1" {status} 3 "-" "Example/1.0"\n'


def skipped(report: ReadingReport) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {
        found.reason: (found.lines, tuple(place.rpartition(":")[2] for place in found.first))
        for found in report.skipped
    }


def counted(reading: Reading) -> list[Logged]:
    """All requests; every line is counted once."""
    requests = list(reading)
    report = reading.report
    assert report.requests == len(requests)
    assert report.requests + sum(found.lines for found in report.skipped) == report.lines
    return requests


def from_text(folder: Path, text: str | bytes, **options: object) -> tuple[list[Logged], ReadingReport]:
    log = folder / "access.log"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    reading = read([str(log)], ReadingOptions(**options))  # type: ignore[arg-type]
    return counted(reading), reading.report


def test_garbage_between_requests_is_counted_with_its_first_lines(tmp_path: Path) -> None:
    garbage = bytes(range(256)).replace(b"\n", b"")
    requests, report = from_text(tmp_path, line(1).encode() + (garbage + b"\n") * 7 + line(2).encode())
    assert [request.line for request in requests] == [1, 9]
    assert skipped(report) == {"not of the format, or only half a line": (7, ("2", "3", "4", "5", "6"))}


def test_half_lines_are_skipped(tmp_path: Path) -> None:
    whole = line(1)
    text = "".join(whole[:cut] + "\n" for cut in range(1, len(whole) - 1, 7)) + whole
    requests, report = from_text(tmp_path, text)
    by_format = {form.name: form.lines for form in report.formats}
    assert by_format.get("combined") == 1
    assert all(request.path == "/a" for request in requests)


@pytest.mark.parametrize("reason", ["", "\n", "\r\n\r\n"])
def test_empty_log_is_refused(tmp_path: Path, reason: str) -> None:
    with pytest.raises(UsageError, match="is a request; tried"):
        from_text(tmp_path, reason)


def test_formats_that_are_mixed_are_all_read(tmp_path: Path) -> None:
    names = ("nginx-main.log", "caddy.log", "haproxy.log", "traefik-json.log", "apache-common.log", "iis.log")
    texts = [(GOLDEN / name).read_bytes() for name in names]
    _, report = from_text(tmp_path, b"".join(texts))
    assert {form.name for form in report.formats} == {
        "nginx main",
        "Caddy JSON",
        "HAProxy HTTP",
        "Traefik JSON",
        "common",
        "IIS (W3C)",
    }


def test_carriage_returns_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain = line(1) + line(2, "/b")
    expected, _ = from_text(tmp_path, plain, salt=b"x")
    windows = plain.replace("\n", "\r\n")
    for data in (
        codecs.BOM_UTF8 + windows.encode(),
        codecs.BOM_UTF16_LE + windows.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + plain.encode("utf-16-be"),
        windows.encode().removesuffix(b"\r\n"),
    ):
        found, _ = from_text(tmp_path, data, salt=b"x")
        assert found == expected


@pytest.mark.parametrize(
    ("logged", "path"),
    [
        (r"/a\x22b", "/a%22b"),
        (r"/a\"b", "/a%22b"),
        (r"/a\\b", "/a%5Cb"),
        (r"/a\x09\x1B[31mb", "/a%09%1B[31mb"),
        ("/naïve", "/na%C3%AFve"),
        ("/a\x1b[2Jb", "/a%1B[2Jb"),
        ("/a\u202eb", "/a%E2%80%AEb"),
        ("/with space", "/with%20space"),
        ("http://example.org/x", "/x"),
        ("http://example.org", "/"),
        ("//x//y", "//x//y"),
        ("/a%20b;c=1,2/~d/(e)", "/a%20b;c=1,2/~d/(e)"),
    ],
)
def test_path_is_as_sent_with_what_a_uri_cannot_have_encoded(tmp_path: Path, logged: str, path: str) -> None:
    [request], _ = from_text(tmp_path, line(1, logged))
    assert request.path == path
    assert request.path.isascii()
    assert request.path.isprintable()


def test_bytes_that_are_not_utf8_are_encoded_as_they_are(tmp_path: Path) -> None:
    [request], _ = from_text(tmp_path, line(1, "/a-b").encode().replace(b"-b", b"\xff\xe4b"))
    assert request.path == "/a%FF%E4b"


@pytest.mark.parametrize("longer", [-1, 0, 1, 1 << 18, 3 << 20])
def test_line_that_is_too_long_is_skipped_and_the_next_read(tmp_path: Path, longer: int) -> None:
    rest = LONGEST_LINE - len(line(1, "/")) + 1 + longer
    requests, report = from_text(tmp_path, line(0) + line(1, "/" + "x" * rest) + line(2, "/b"))
    if longer <= 0:
        assert len(requests) == 3
    else:
        assert [request.line for request in requests] == [1, 3]
        assert skipped(report) == {"longer than 65,536 characters": (1, ("2",))}


def test_last_line_that_is_too_long_is_counted(tmp_path: Path) -> None:
    _, report = from_text(tmp_path, line(0) + "x" * (LONGEST_LINE * 9))
    assert skipped(report) == {"longer than 65,536 characters": (1, ("2",))}


if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd.compress,
}


@pytest.mark.parametrize("kind", PACKED)
def test_compressed_log_is_known_by_its_content(tmp_path: Path, kind: str) -> None:
    text = "".join(line(second % 60, f"/{second}", minute=second // 60) for second in range(3000)).encode()
    plain, _ = from_text(tmp_path, text, salt=b"x")
    pack = PACKED[kind]
    for data in (pack(text), pack(text[:70_000]) + pack(text[70_000:])):  # appended to, as rotation does
        found, report = from_text(tmp_path, data, salt=b"x")
        assert found == plain
        assert report.problems == ()


@pytest.mark.long
@pytest.mark.parametrize("kind", PACKED)
def test_compressed_log_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, kind: str) -> None:
    text = "".join(
        line(second % 60, f"/{second * 7919 % 10007}", minute=second // 60) for second in range(3000)
    )
    data = PACKED[kind](text.encode() * 20)
    requests, report = from_text(tmp_path, data[: len(data) * 2 // 3])
    assert 0 < len(requests) < 60_000
    [problem] = report.problems
    assert f"the {kind_name(kind)} data ends too early" in problem


def kind_name(kind: str) -> str:
    return {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd"}[kind]


@pytest.mark.parametrize("kind", PACKED)
def test_damaged_compressed_log_is_no_traceback(tmp_path: Path, kind: str) -> None:
    data = bytearray(PACKED[kind](line(1).encode() * 50_000))
    data[len(data) // 2 :] = b"\xa5" * (len(data) - len(data) // 2)
    log = tmp_path / "access.log"
    log.write_bytes(bytes(data))
    reading = read([str(log)])
    with suppress(UsageError):  # no line may be left
        list(reading)
    assert reading.report.problems


def test_compressed_line_of_gigabytes_needs_no_memory(tmp_path: Path) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    packed = zstd.compress(line(0).encode() + b"x" * (64 << 20) + b"\n" + line(1).encode())
    tracemalloc.start()
    try:
        requests, report = from_text(tmp_path, packed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [request.line for request in requests] == [1, 3]
    assert skipped(report) == {"longer than 65,536 characters": (1, ("2",))}
    assert peak < 16 << 20


def test_pipe_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress((line(1) + line(2)).encode())))
    )
    seen: list[Progress] = []
    reading = read(["-"], None, seen.append)
    assert len(counted(reading)) == 2
    assert seen[-1].bytes_total is None
    assert seen[-1].left_s is None


def test_rotated_logs_are_merged_by_time(tmp_path: Path) -> None:
    names = ["access.log", "access.log.1", "access.log.2.gz"]
    (tmp_path / names[0]).write_text("".join(line(second, minute=30) for second in range(0, 60, 2)))
    (tmp_path / names[1]).write_text("".join(line(second, minute=20) for second in range(60)))
    (tmp_path / names[2]).write_bytes(
        gzip.compress("".join(line(s, minute=m) for m in (10, 30) for s in range(60)).encode())
    )
    reading = read([str(tmp_path / name) for name in names])
    requests = counted(reading)
    assert [request.t for request in requests] == sorted(request.t for request in requests)
    assert (len(requests), reading.report.late) == (210, 0)


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text(line(1))
    (tmp_path / "today.log").symlink_to("access.log")
    with pytest.raises(UsageError, match=r"today\.log: is the same file as .*access\.log; name it once"):
        read([str(tmp_path / name) for name in ("access.log", "today.log")])


def test_a_copy_of_a_log_is_noted(tmp_path: Path) -> None:
    text = "".join(line(second) for second in range(50))
    (tmp_path / "access.log.1").write_text(text)
    (tmp_path / "access.log.1.gz").write_bytes(gzip.compress((text + line(55)).encode()))
    (tmp_path / "access.log").write_text("".join(line(second, minute=50) for second in range(50)))
    reading = read([str(tmp_path / name) for name in ("access.log", "access.log.1", "access.log.1.gz")])
    counted(reading)
    [problem] = reading.report.problems
    assert "access.log.1.gz: begins as " in problem
    assert "counted twice" in problem


def test_many_files_that_overlap_keep_within_their_share_of_memory(tmp_path: Path) -> None:
    for node in range(30):
        (tmp_path / f"node{node}.log").write_text(
            "".join(line(s, f"/{node}", minute=m) for m in range(5) for s in range(60))
        )
    reading = read([str(log) for log in sorted(tmp_path.iterdir())])
    requests = counted(reading)
    assert [request.t for request in requests] == sorted(request.t for request in requests)
    assert len(requests) == 9000


def test_clock_that_went_back_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IN_ORDER", 10)
    monkeypatch.setattr(module, "_IN_ORDER_PER_FILE", 10)
    ahead = "".join(line(second, minute=40) for second in range(60)) * 50
    text = ahead + "".join(line(second, minute=20) for second in range(60)) * 50
    requests, report = from_text(tmp_path, text * 2)
    assert len(requests) == 12_000
    assert report.late > 0
    assert len(report.late_first) == 5


def test_lines_a_little_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    seconds = [3, 1, 2, 0, 5, 4]
    requests, report = from_text(tmp_path, "".join(line(second) for second in seconds))
    assert [request.line for request in requests] == [4, 2, 3, 1, 6, 5]
    assert report.late == 0


def test_offsets_and_summer_time_of_the_log_count(tmp_path: Path) -> None:
    rows = ["25/Oct/2026:02:59:59 +0200", "25/Oct/2026:02:00:00 +0100", "25/Oct/2026:01:00:01 +0000"]
    text = "".join(line(0).replace("29/Nov/2026:11:00:00 +0000", row) for row in rows)
    requests, _ = from_text(tmp_path, text)
    assert [request.t - requests[0].t for request in requests] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("log_format", [None, '%h [%{%d/%b/%Y:%H:%M:%S}t] "%r" %>s %b', "%{%F %T}t %r %s"])
def test_zone_without_offset_has_its_twofold_hour_in_order(tmp_path: Path, log_format: str | None) -> None:
    form = {
        None: '::1:5 [25/Oct/2026:{}.000] a b/c 0/0/0/0/0 200 5 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1"\n',
        "%{%F %T}t %r %s": "2026-10-25 {} GET / HTTP/1.1 200\n",
    }.get(log_format, '192.0.2.7 [25/Oct/2026:{}] "GET /a HTTP/1.1" 200 3\n')
    hours = [f"{hour:02}:{minute:02}:00" for hour in (1, 2, 2, 3) for minute in range(0, 60, 10)]
    text = "".join(form.format(hour) for hour in hours)
    requests, report = from_text(tmp_path, text, timezone=ZoneInfo("Europe/Berlin"), log_format=log_format)
    assert [request.t - requests[0].t for request in requests] == [600.0 * at for at in range(len(hours))]
    assert report.problems == ()
    _, report = from_text(tmp_path, text, log_format=log_format)
    assert report.problems == (
        "time stamps have no offset from UTC and were taken as UTC: give their zone with --timezone",
    )


def test_one_second_one_client_and_only_errors_are_read(tmp_path: Path) -> None:
    requests, report = from_text(tmp_path, line(7, status=503) * 40)
    assert {request.status for request in requests} == {503}
    assert len({request.visitor for request in requests}) == 1
    assert report.first_t == report.last_t


@pytest.mark.parametrize(
    "stamp",
    [
        "29/Foo/2026:11:00:00 +0000",
        "31/Feb/2026:11:00:00 +0000",
        "29/Nov/1970:11:00:00 +0000",
        "29/Nov/2026:11:00:61 +0000",
        "29/Nov/2026:25:00:00 +0000",
        "29/Nov/2026:11:00:00 +9900",
    ],
)
def test_time_stamp_that_cannot_be_is_counted(tmp_path: Path, stamp: str) -> None:
    text = line(0) + line(0).replace("29/Nov/2026:11:00:00 +0000", stamp)
    _, report = from_text(tmp_path, text)
    assert skipped(report) == {"a time stamp that cannot be": (1, ("2",))}


def test_missing_files_and_directories_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read([str(tmp_path), str(tmp_path / "no.log"), "-", "-"])
    assert [problem.partition(": ")[2] for problem in error.value.problems[:2]] == [
        "is a directory; name the logs in it",
        "cannot be read: No such file or directory",
    ]
    assert error.value.problems[2] == '"-" is given more than once'


def test_file_without_requests_beside_others_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(line(1))
    (tmp_path / "b.log").write_text("")
    reading = read([str(tmp_path / "a.log"), str(tmp_path / "b.log")])
    assert len(counted(reading)) == 1
    assert reading.report.problems == (f"{tmp_path / 'b.log'}: no request in it",)


def test_progress_reaches_the_end_with_its_rate(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line(1) * 5000)
    seen: list[Progress] = []
    counted(read([str(log)], None, seen.append))
    last = seen[-1]
    assert (last.lines, last.bytes_done, last.bytes_total) == (5000, log.stat().st_size, log.stat().st_size)
    assert last.left_s == 0
    assert last.lines_per_second > 0


KNOWN_LINES = [text for log in sorted(GOLDEN.glob("*.log")) for text in log.read_bytes().splitlines()[:4]]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.sampled_from(KNOWN_LINES),
            st.tuples(st.sampled_from(KNOWN_LINES), st.integers(0, 300), st.binary(max_size=8)).map(
                lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]
            ),
            st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
        ),
        max_size=12,
    ),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_reading_never_raises_and_counts_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[bytes], end: bytes
) -> None:
    log = tmp_path_factory.getbasetemp() / "garbage.log"
    data = b"".join(row + end for row in rows)
    log.write_bytes(b"#" + data)  # no magic number of a compressed file, no byte order mark
    reading = read([str(log)])
    requests: list[Logged] = []
    try:
        requests.extend(reading)
    except UsageError as error:
        assert "is a request; tried" in str(error)  # noqa: PT017
    report = reading.report
    assert report.lines == (b"#" + data).count(b"\n") + (not data)
    assert len(requests) == report.requests
    assert report.requests + sum(found.lines for found in report.skipped) == report.lines
    assert all(request.path.isascii() and request.path.isprintable() for request in requests)
    assert all(request.path.startswith("/") for request in requests)


GIVEN: dict[str, dict[str, object]] = {
    "nginx-timed.log": {
        "log_format": '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
        '"$http_referer" "$http_user_agent" rt=$request_time urt="$upstream_response_time" sid=$cookie_sid'
    },
    "apache-timed.log": {
        "log_format": "%h %u %{%Y-%m-%d %H:%M:%S}t.%{msec_frac}t %m %U%q %>s %b %{us}T %{sessionid}C"
    },
    "gunicorn-timed.log": {"log_format": '%(h)s %(u)s %(t)s "%(m)s %(U)s?%(q)s" %(s)s %(B)s "%(a)s" %(D)s'},
    "haproxy.log": {"format": "haproxy"},
    "envoy-served.log": {"format": "envoy"},
    "envoy-served-json.log": {"format": "envoy"},
    "traefik-served.log": {"format": "traefik"},
    "caddy.log": {"format": "caddy"},
    "nginx-json.log": {"fields": {"time": "time", "request": "request", "status": "status"}},
    "uvicorn-timed.log": {"format": "uvicorn", "timezone": ZoneInfo("America/St_Johns")},
}


@pytest.mark.parametrize("name", GIVEN)
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, 400),
            st.integers(0, 40),
            st.one_of(
                st.binary(max_size=12),
                st.sampled_from(
                    [b'"', b"\\", b" ", b"[", b"]", b"{", b"null", b"-", b"1e999", b"\xff", b"\r", b"NaN"]
                ),
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=30, deadline=None)
def test_a_damaged_line_of_a_given_format_is_a_request_or_counted(
    name: str, changes: list[tuple[int, int, bytes]]
) -> None:
    rows = (GOLDEN / name).read_bytes().splitlines()[:6]
    for at, (place, cut, put) in enumerate(changes):
        row = rows[at % len(rows)]
        rows[at % len(rows)] = (row[:place] + put + row[place + cut :]).replace(b"\n", b"")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "access.log"
        log.write_bytes(b" " + b"\n".join(rows) + b"\n")
        reading = read([str(log)], ReadingOptions(**GIVEN[name]))  # type: ignore[arg-type]
        requests: list[Logged] = []
        with suppress(UsageError):  # no line may be left
            requests.extend(reading)
    report = reading.report
    assert report.lines == len(rows)
    assert len(requests) + sum(found.lines for found in report.skipped) == report.lines
    assert all(math.isfinite(request.t) and (request.seconds or 0) >= 0 for request in requests)


@pytest.mark.parametrize(
    "where", ["path", *(pytest.param(name, marks=pytest.mark.long) for name in ("agent", "host"))]
)
def test_long_values_need_no_more_memory_than_a_bound(tmp_path: Path, where: str) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    log = tmp_path / "access.log"
    with log.open("w") as file:
        for number in range(3000):
            long = f"{number}{'x' * 60_000}"
            values = {"path": "/a", "agent": "Example/1.0", "host": "192.0.2.7", where: "/" + long}
            at = f"29/Nov/2026:11:{number // 60:02}:{number % 60:02} +0000"
            file.write(
                f'{values["host"]} - - [{at}] "GET {values["path"]} HTTP/1.1" 200 3 "-" "{values["agent"]}"\n'
            )
    tracemalloc.start()
    try:
        requests = sum(1 for _ in read([str(log)]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert requests == 3000
    assert peak < 90 << 20  # of 180 MB


@pytest.mark.parametrize(
    "status", ['"1x0"', '"4_4"', '"2\u06630"', '"\u00b200"', '"2 0"', "2.5", "[]", "null"]
)
def test_a_status_that_is_no_number_is_no_request(status: str, tmp_path: Path) -> None:
    good = {"time": "2026-11-29T11:20:27+00:00", "remote_addr": "127.0.0.1", "request_method": "GET"}
    row = json.dumps(good | {"request_uri": "/a", "status": 200, "body_bytes_sent": 3})
    (tmp_path / "access.log").write_text(f"{row}\n{row.replace('200', status)}\n", encoding="utf-8")
    requests = list(read([str(tmp_path / "access.log")]))
    assert [request.status for request in requests] == [200]


@pytest.mark.parametrize("size", ["9" * 5000, '"\u0663"', "-3", "1e400"])
def test_a_size_that_is_no_number_is_unknown(size: str, tmp_path: Path) -> None:
    good = {"time": "2026-11-29T11:20:27+00:00", "remote_addr": "127.0.0.1", "request_method": "GET"}
    row = json.dumps(good | {"request_uri": "/a", "status": 200, "body_bytes_sent": 77})
    (tmp_path / "access.log").write_text(row.replace("77", size) + "\n" + row + "\n", encoding="utf-8")
    assert {request.size for request in read([str(tmp_path / "access.log")])} <= {77, None}
