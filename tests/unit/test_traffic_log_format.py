"""Formats that a server's configuration describes read the lines that it writes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rushhour.jobs.traffic.formats import FIELDS
from rushhour.jobs.traffic.log_format import template_format, template_of
from rushhour.jobs.traffic.options import ReadingOptions, SessionKey
from rushhour.jobs.traffic.reading import read

CLF = "29/Nov/2026:10:57:00 +0000"


@pytest.mark.parametrize(
    ("template", "line", "fields"),
    [
        (
            "$remote_addr - $remote_user [$time_local] $status",
            f"::1 - a b [{CLF}] 200",
            {"address": "::1", "user": "a b", "time": CLF, "status": "200"},
        ),
        (
            '$status "$request_method $scheme://$host$request_uri $server_protocol"',
            '200 "GET https://example.org/a?b=1 HTTP/2.0"',
            {"method": "GET", "target": "/a?b=1"},
        ),
        ("$status $request_method $host$uri$is_args$args", "200 GET example.org/a?b=1", {"target": "/a?b=1"}),
        ("$status $request_method $uri $args", "200 GET /a b=1", {"target": "/a?b=1"}),
        ("$status $request_method $uri $args", "200 GET /a -", {"target": "/a"}),
        ("$status|$request|$msec", "200|GET /a b HTTP/1.1|1764400000.123", {"junk": "GET /a b HTTP/1.1"}),
        (
            '{"s":$status,"m":"$request_method","u":"$request_uri","a":"$http_user_agent"}',
            r'{"s":200,"m":"GET","u":"/a\"b","a":"x\\"}',
            {"status": "200", "method": "GET", "target": r"/a\"b", "agent": r"x\\"},
        ),
        (
            "$status $request $upstream_response_time $request_time",
            "200 GET 0.1, 0.2 : 0.3 0.5",
            {"seconds": "0.5"},
        ),
        ("$bytes_sent $status $body_bytes_sent", "312 200 12", {"size": "12"}),
        ("$bytes_sent $status", "312 200", {"size": "312"}),
        ("${status} ${request_time}s", "200 0.5s", {"status": "200", "seconds": "0.5"}),
        ("$http_x_real_ip $status $remote_addr", "192.0.2.7 200 10.0.0.1", {"forwarded": "192.0.2.7"}),
        ('%h %>s %b "%{User-agent}i"', '192.0.2.7 200 - "a \\"b\\""', {"size": "-", "agent": 'a \\"b\\"'}),
        ("%>s %m %v%U%q", "200 GET example.org/a?b=1", {"target": "/a?b=1"}),
        ("%>s %m %U%q", "200 GET /a?b=1", {"target": "/a?b=1"}),
        ("%>s %!200,304{Referer}i %D", "404 https://example.org/ 1234", {"seconds": "1234"}),
        (
            "%{%d/%b/%Y:%T}t.%{usec_frac}t %>s",
            "29/Nov/2026:10:57:00.123456 200",
            {"time": "29/Nov/2026:10:57:00 123456"},
        ),
        ("%{msec}t %>s", "1764400000123 200", {"time": "1764400000123"}),
        (r"%h\t%>s", "192.0.2.7\t200", {"address": "192.0.2.7", "status": "200"}),
        ('%(s)s "%(a)s" %(M)s', '200 "a\\" 12', {"agent": "a\\", "seconds": "12"}),
        ("%(s)s %(T)s %(D)s", "200 0 250000", {"seconds": "250000"}),
        ("%(s)s %({x-forwarded-for}i)s", "200 192.0.2.7, 10.0.0.1", {"forwarded": "192.0.2.7, 10.0.0.1"}),
    ],
)
def test_variables_are_read(template: str, line: str, fields: dict[str, str]) -> None:
    whole = {
        "nginx": f"{template} $time_local $request",
        "Apache": f"{template} %t %r",
        "gunicorn": f"{template} %(t)s %(r)s",
    }
    kind = "gunicorn" if "%(" in template else "nginx" if "$" in template else "Apache"
    missing = [word for word in ("request_method", "%m") if word in template]
    given = whole[kind] if not missing else whole[kind].rpartition(" ")[0]
    time = CLF if kind == "nginx" else f"[{CLF}]"
    form = template_format(given, SessionKey())
    found = form.parse(f"{line} {time}" + ("" if missing else " GET /z HTTP/1.1"))
    assert found is not None
    read = dict(zip(FIELDS, found, strict=True))
    if "time" in fields or "msec" in template or "junk" in fields:
        assert read["time"] is not None
    assert {name: read[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("template", "per_unit"),
    [("%t %r %s %D", 1e-6), ("%t %r %s %T", 1.0), ("%t %r %s %{ms}T", 1e-3), ("%t %r %s %{us}T", 1e-6)],
)
def test_durations_have_the_unit_of_their_variable(template: str, per_unit: float) -> None:
    form = template_format(template, SessionKey())
    assert (form.seconds_per_unit, form.stamps) == (per_unit, "start")


def test_better_of_two_durations_is_taken() -> None:
    form = template_format("%(t)s %(r)s %(s)s %(T)s %(L)s", SessionKey())
    found = form.parse(f"[{CLF}] GET / HTTP/1.1 200 0 0.25")
    assert found is not None
    assert (found[5], form.seconds_per_unit) == ("0.25", 1.0)


def test_time_of_the_end_is_known_from_the_template() -> None:
    assert template_format("%{end:%Y-%m-%d %H:%M:%S}t %r %s %D", SessionKey()).stamps == "end"
    assert template_format("$time_local $request $status", SessionKey()).stamps == "end"


@pytest.mark.parametrize(
    ("template", "text", "part_s"),
    [
        ("%{%Y-%m-%d %H:%M:%S %z}t", "2026-11-29 12:57:00 +0200", 0.0),
        ("%{%d/%b/%Y:%T}t.%{msec_frac}t %{%z}t", "29/Nov/2026:12:57:00.250 +0200", 0.25),
        ("%{%F}t|%{%H:%M:%S}t|%{%z}t", "2026-11-29|12:57:00|+0200", 0.0),
        ("%{%z}t %{%T}t %{%F}t", "+0200 12:57:00 2026-11-29", 0.0),
        ("%{sec}t.%{usec_frac}t", "1795949820.250000", 0.25),
        ("%{%s}t%{msec_frac}t", "1795949820250", 0.25),
        ("%{%F %T %z}t year %{%Y}t", "2026-11-29 12:57:00 +0200 year 2026", 0.0),
        ("%{begin:%F %T %z}t %{end:%F %T %z}t", "2026-11-29 12:57:00 +0200 2026-11-29 12:58:30 +0200", 0.0),
        ("%{%a, %d %b %Y %I:%M:%S %p %z}t", "Sun, 29 Nov 2026 12:57:00 PM +0200", 0.0),
    ],
)
def test_a_time_in_several_parts_is_one(template: str, text: str, part_s: float, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(f'192.0.2.7 [{text}] "GET / HTTP/1.1" 200\n')
    reading = read([str(log)], ReadingOptions(log_format=f'%h [{template}] "%r" %>s'))
    moment = datetime(2026, 11, 29, 10, 57, tzinfo=UTC).timestamp()
    assert [request.t - moment for request in reading] == [part_s]
    assert (reading.report.resolution_s < 1) == (part_s > 0)
    assert reading.report.formats[0].stamps == "start"


@pytest.mark.parametrize(
    "given",
    [
        "$a $b",
        "'$a $b'",
        "'$a '\n   '$b'",
        "log_format main '$a $b';",
        "log_format main escape=json '$a '\n  '$b';",
        'LogFormat "$a $b" timed',
        "access_log_format = '$a $b'",
        'access_log_format = "$a $b"',
    ],
)
def test_template_is_taken_out_of_its_directive(given: str) -> None:
    assert template_of(given) == "$a $b"


def test_session_is_the_cookie_or_header_that_was_asked_for() -> None:
    template = '$time_local "$request" $status "$http_x_user" "$cookie_sessionid" "$http_cookie"'
    line = f'{CLF} "GET / HTTP/1.1" 200 "u1" "s1" "a=1; basket=b1; sessionid=s1"'
    for session, key in (
        (SessionKey(), "s1"),
        (SessionKey("header", "X-User"), "u1"),
        (SessionKey("cookie", "sessionid"), "s1"),
        (SessionKey("cookie", "basket"), "b1"),
        (SessionKey("address"), None),
    ):
        found = template_format(template, session).parse(line)
        assert found is not None
        assert found[11] == key
