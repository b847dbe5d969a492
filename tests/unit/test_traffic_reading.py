"""Access logs of each format become the requests that were sent."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from rushhour.errors import UsageError
from rushhour.jobs.traffic.choice import NAMES, chosen_formats
from rushhour.jobs.traffic.options import ReadingOptions, SessionKey, reading_options
from rushhour.jobs.traffic.reading import Reading, read
from rushhour.jobs.traffic.record import Logged
from rushhour.jobs.traffic.requests import NO_PATH, NO_REQUEST

LOGS = Path(__file__).parent / "traffic_logs"
UUID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
ASKED = {
    ("GET", "/customers/17/referrals", False),
    ("GET", "/customers/17/referrals", True),
    ("GET", "/robots.txt", False),
    ("GET", "/health", False),
    ("POST", "/referrals", False),
    ("HEAD", "/customers/17", False),
    ("DELETE", f"/customers/17/referrals/{UUID}", False),
}
ODD = {("GET", "/na%C3%AFve/%22quoted%22", False), ("GET", "/a%22b%5Cc", False), ("GET", "/absolute", True)}
NGINX_TIMED = (
    "log_format timed '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent '\n"
    '  \'"$http_referer" "$http_user_agent" \''
    "  'rt=$request_time urt=\"$upstream_response_time\" sid=$cookie_sessionid';"
)
APACHE_TIMED = "%h %u %{%Y-%m-%d %H:%M:%S}t.%{msec_frac}t %m %U%q %>s %b %{us}T %{sessionid}C"
GUNICORN_TIMED = '%(h)s %(u)s %(t)s "%(m)s %(U)s?%(q)s" %(s)s %(B)s "%(a)s" %(D)s'


def reading_of(*names: str, **options: object) -> tuple[list[Logged], Reading]:
    reading = read([str(LOGS / name) for name in names], ReadingOptions(**options))  # type: ignore[arg-type]
    return list(reading), reading


def sent(requests: list[Logged]) -> set[tuple[str, str, bool]]:
    return {(request.method, request.path, request.has_query) for request in requests}


@pytest.mark.parametrize(
    ("name", "form", "lines", "requests"),
    [
        ("nginx-combined.log", "combined", 16, 14),
        ("nginx-main.log", "nginx main", 16, 14),
        ("nginx-timed.log", "combined and more", 16, 14),
        ("apache-combined.log", "combined", 16, 14),
        ("apache-common.log", "common", 16, 14),
        ("apache-vhost.log", "Apache vhost_combined", 16, 14),
        ("haproxy.log", "HAProxy HTTP", 16, 11),
        ("haproxy-syslog.log", "HAProxy HTTP in syslog lines", 16, 11),
        ("gunicorn.log", "combined, backslashes as they are", 12, 11),
        ("uvicorn-timed.log", "uvicorn", 11, 10),
    ],
)
def test_log_of_a_server_gives_what_was_asked(name: str, form: str, lines: int, requests: int) -> None:
    found, reading = reading_of(name)
    report = reading.report
    assert sent(found) >= ASKED | ODD
    assert (report.formats[0].name, report.lines, report.requests) == (form, lines, requests)
    assert report.requests + sum(skipped.lines for skipped in report.skipped) == report.lines


@pytest.mark.parametrize(
    ("name", "forms", "requests", "skipped"),
    [
        ("envoy-served.log", {"Envoy", "Envoy, quotes as they are"}, 13, 5),
        ("envoy-served-json.log", {"Envoy JSON"}, 13, 5),
        ("traefik-served.log", {"Traefik common"}, 15, 0),
        ("traefik-served-json.log", {"Traefik JSON"}, 15, 0),
    ],
)
def test_log_of_a_proxy_gives_what_was_asked(name: str, forms: set[str], requests: int, skipped: int) -> None:
    found, reading = reading_of(name)
    report = reading.report
    assert {form.name for form in report.formats} == forms
    assert (report.requests, report.lines - report.requests) == (requests, skipped)
    assert sent(found) >= {
        ("GET", "/customers/17/referrals", False),
        ("GET", "/customers/17/referrals", True),
        ("GET", "/customers/19", False),
        ("GET", "/robots.txt", False),
        ("POST", "/referrals", False),
        ("HEAD", "/health", False),
        ("GET", "/a%22b%5Cc", False),
    }
    slow = next(request for request in found if request.path == "/slow/report")
    assert slow.seconds == pytest.approx(0.2, abs=0.1)
    assert {one.reason for one in report.skipped} <= {NO_REQUEST, NO_PATH}
    statuses = {request.path: request.status for request in found}
    assert statuses["/fail"] == 500
    assert statuses["/dead/end"] in {502, 503}


ASKED_OF_PYTHON = {
    ("GET", "/orders/1", True, 200),
    ("POST", "/orders/2", False, 200),
    ("GET", "/missing", False, 404),
    ("GET", "/fail", False, 500),
    ("GET", "/moved", False, 302),
    ("GET", "/orders/q%22uote", False, 200),
    ("GET", "/orders/3", False, 200),
}


@pytest.mark.parametrize(
    ("name", "form", "requests", "visitors"),
    [
        ("django.log", "Django runserver", 14, 1),
        ("werkzeug.log", "Werkzeug, wsgiref", 14, 1),
        ("werkzeug-asctime.log", "Werkzeug, wsgiref in syslog lines", 14, 1),
        ("aiohttp.log", "aiohttp in lines of a logger", 16, 4),
        (
            "aiohttp-asctime.log",
            "aiohttp in lines of a logger in lines with a time stamp before them",
            16,
            4,
        ),
        ("tornado.log", "Tornado", 14, 1),
        ("sanic.log", "Sanic", 13, 1),
        ("hypercorn.log", "combined in a Python logger's lines", 13, 4),
        ("translogger.log", "combined", 13, 4),
        ("gevent.log", "gevent", 14, 1),
        ("eventlet.log", "eventlet", 14, 2),
    ],
)
def test_log_of_a_python_server_gives_what_was_asked(
    name: str, form: str, requests: int, visitors: int
) -> None:
    found, reading = reading_of(name)
    report = reading.report
    queries = name != "hypercorn.log"  # it logs none
    asked = {(method, path, query and queries, status) for method, path, query, status in ASKED_OF_PYTHON}
    assert {(one.method, one.path, one.has_query, one.status) for one in found} >= asked
    assert (report.formats[0].name, report.requests) == (form, requests)
    assert report.requests + sum(skipped.lines for skipped in report.skipped) == report.lines
    assert (
        len({request.visitor for request in found}) == visitors
    )  # agents, and an address that was forwarded
    assert found[-1].t - found[0].t < 3


def test_cloudfronts_json_has_what_its_columns_have() -> None:
    found, reading = reading_of("cloudfront-json.log", session=SessionKey("cookie", "sessionid"))
    assert [form.name for form in reading.report.formats] == ["CloudFront JSON"]
    first, second = sorted(found, key=lambda one: one.path)
    assert first.t == datetime(2026, 11, 30, 10, 0, 1, tzinfo=UTC).timestamp() - 0.25
    assert second.t == datetime(2026, 11, 30, 10, 0, 1, 250_000, tzinfo=UTC).timestamp() - 30
    assert (first.path, first.has_query, first.status, first.seconds) == ("/orders/7", True, 200, 0.25)
    assert (second.path, second.has_query, second.status) == ("/orders/8", False, 504)
    assert reading.report.visitors_by.startswith("cookie sessionid; 1 of 2")


def test_caddy_log_gives_what_was_asked() -> None:
    found, reading = reading_of("caddy.log")
    assert sent(found) >= ASKED
    assert [form.name for form in reading.report.formats] == ["Caddy JSON"]
    assert found[0].seconds == pytest.approx(1.6034e-05)
    assert reading.report.resolution_s < 1


def test_json_of_nginx_is_read_by_its_usual_names() -> None:
    found, reading = reading_of("nginx-json.log")
    assert sent(found) >= ASKED | ODD
    assert reading.report.formats[0].name.startswith(
        "JSON lines (time=time, method=request_method, path=request_uri"
    )
    assert found[8].path == "/n%C3%A4h%ff"  # not UTF-8


@pytest.mark.parametrize(
    ("name", "template", "requests"),
    [
        ("nginx-timed.log", NGINX_TIMED, 14),
        ("apache-timed.log", APACHE_TIMED, 14),
        ("gunicorn-timed.log", GUNICORN_TIMED, 11),
    ],
)
def test_given_template_reads_the_log_with_durations(name: str, template: str, requests: int) -> None:
    found, reading = reading_of(name, log_format=template)
    assert sent(found) >= ASKED
    assert len(found) == requests
    assert all(request.seconds is not None for request in found)
    assert (
        reading.report.requests + sum(skipped.lines for skipped in reading.report.skipped)
        == reading.report.lines
    )


def test_session_cookie_of_a_template_tells_visitors_apart() -> None:
    found, reading = reading_of("apache-timed.log", log_format=APACHE_TIMED)
    with_cookie = [
        request for request in found if request.has_query and request.path.startswith("/customers")
    ]
    without = [request for request in found if request.path == "/customers/18"]
    assert with_cookie[0].visitor not in {
        request.visitor for request in found if request is not with_cookie[0]
    }
    assert without[0].visitor != with_cookie[0].visitor
    assert reading.report.visitors_by == (
        "a session cookie or user; 13 of 14 requests without it by address and agent"
    )


@pytest.mark.parametrize(
    ("name", "form", "skipped"),
    [
        ("traefik-json.log", "Traefik JSON", 1),
        ("traefik-common.log", "Traefik common", 0),
        ("envoy.log", "Envoy", 1),
        ("envoy-json.log", "Envoy JSON", 0),
        ("alb.log", "AWS ALB", 1),
        ("cloudfront.log", "CloudFront", 3),
        ("iis.log", "IIS (W3C)", 6),
    ],
)
def test_documented_format_is_recognised(name: str, form: str, skipped: int) -> None:
    found, reading = reading_of(name)
    report = reading.report
    assert [read_as.name for read_as in report.formats] == [form]
    assert report.lines - report.requests == skipped
    by_path = {(request.method, request.path, request.has_query): request for request in found}
    assert by_path.keys() >= {
        ("GET", "/customers/17/referrals", False),
        ("GET", "/customers/17/referrals", True),
        ("GET", "/robots.txt", False),
    }
    assert by_path["GET", "/robots.txt", False].agent_kind == "bot"
    assert by_path["GET", "/customers/17/referrals", False].agent_kind == "client"
    assert by_path["GET", "/customers/17/referrals", True].seconds == pytest.approx(0.012, abs=0.16)


def test_each_fields_line_of_a_w3c_log_renames_the_columns() -> None:
    found, _ = reading_of("iis.log")
    by_line = {request.line: request for request in found}
    assert by_line[5].status == 200
    assert by_line[5].seconds == pytest.approx(0.276)
    assert (by_line[10].method, by_line[10].status, by_line[10].seconds) == ("POST", 500, 30.0)
    assert by_line[5].visitor == by_line[10].visitor


def test_requests_come_in_the_order_in_which_they_began() -> None:
    found, _ = reading_of("iis.log")
    assert [request.line for request in found] == [10, 5, 6, 9]  # line 10 took 30 s
    assert [request.t for request in found] == sorted(request.t for request in found)


def test_uvicorn_log_without_times_says_what_is_missing() -> None:
    no_time = r"the lines carry no time \(uvicorn's default, logging\.basicConfig\(\)\)"
    with pytest.raises(UsageError, match=no_time) as error:
        reading_of("uvicorn.log")
    assert "10 skipped: no time stamp" in str(error.value)


def test_time_of_a_container_runtime_counts_where_the_line_has_none(tmp_path: Path) -> None:
    lines = (LOGS / "uvicorn.log").read_text().splitlines()
    log = tmp_path / "pod.log"
    log.write_text("".join(f"2026-11-29T11:20:{at:02}.5Z stdout F {line}\n" for at, line in enumerate(lines)))
    found = list(read([str(log)]))
    assert (found[0].path, found[0].t) == ("/customers/17/referrals", 1795951204.5)


def test_unknown_lines_are_refused_with_the_formats_that_were_tried(tmp_path: Path) -> None:
    log = tmp_path / "notes.txt"
    log.write_text("a\nshopping list\n\nmilk\n")
    with pytest.raises(UsageError) as error:
        list(read([str(log)]))
    assert "no line of 4 is a request; tried: Apache vhost_combined, nginx main, combined" in str(error.value)
    assert f"3 skipped: not of the format, or only half a line ({log}:1, {log}:2, {log}:4)" in str(
        error.value
    )


def test_visitor_of_an_address_and_agent_is_the_same_in_every_line() -> None:
    found, _ = reading_of("nginx-main.log")
    by_path = {(request.method, request.path): request.visitor for request in found}
    assert by_path["HEAD", "/customers/17"] == by_path["GET", "/customers/17/referrals"]
    assert by_path["GET", "/customers/18"] != by_path["GET", "/customers/17/referrals"]  # ::1
    assert (
        by_path["GET", "/na%C3%AFve/%22quoted%22"] != by_path["GET", "/customers/17/referrals"]
    )  # forwarded


def test_no_client_value_is_in_requests_or_report() -> None:
    for log in sorted(LOGS.glob("*.log")):
        if log.name in {"uvicorn.log", "apache-timed.log", "gunicorn-timed.log"}:
            continue
        found, reading = reading_of(log.name)
        shown = repr(found) + repr(reading.report)
        for value in (
            "127.0.0.1",
            "::1",
            "192.0.2",
            "203.0.113",
            "198.51.100",
            "2001:db8",
            "ExampleBrowser",
            "s-0001",
        ):
            assert value not in shown, log.name


def test_salt_decides_the_hashes() -> None:
    one, _ = reading_of("nginx-main.log", salt=b"one")
    again, _ = reading_of("nginx-main.log", salt=b"one")
    other, _ = reading_of("nginx-main.log", salt=b"other")
    assert one == again
    assert not {request.visitor for request in one} & {request.visitor for request in other}


def test_named_format_is_the_only_one_that_is_tried() -> None:
    with pytest.raises(UsageError, match="tried: Traefik common, Traefik JSON"):
        reading_of("nginx-main.log", format="traefik")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "squid"}, "--format squid: unknown; known: common, combined"),
        ({"format": "nginx", "log_format": "$status"}, "--format and --log-format each name the format"),
        ({"log_format": "$remote_addr $status"}, "the time and the request is missing"),
        ({"log_format": "no variables"}, "no variable in it"),
        ({"log_format": "%h %{%Q}t %r %s"}, "%Q is not read"),
        ({"log_format": "#Fields: date time c-ip"}, "needs date, time, cs-method"),
        ({"fields": {"tme": "t"}}, "--field tme=...: unknown"),
        ({"fields": {"time": "t", "status": "s", "path": "p"}}, "method is missing"),
        (
            {
                "log_format": '%h %t "%r" %>s %{sid}C %{X-User}i',
                "session": SessionKey("cookie", "session"),
            },
            "does not log the cookie session (headers and cookies in it: cookie sid, header X-User)",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        reading_of("nginx-main.log", **options)
    assert message in str(error.value)


def test_field_map_reads_any_json(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(
        '{"at": 1795951250123,"http": {"verb": "GET", "to": "/a?x"}, "code": "200", "took": 12, "who": "a"}\n'
        '{"at": 1795951251123, "http": {"verb": "GET", "to": "/b"}, "code": 500, "took": null, "who": "b"}\n'
    )
    fields = {
        "time": "at",
        "method": "http.verb",
        "path": "http.to",
        "status": "code",
        "milliseconds": "took",
        "session": "who",
    }
    found = list(read([str(log)], ReadingOptions(fields=fields)))
    assert [(request.path, request.has_query, request.status, request.seconds) for request in found] == [
        ("/a", True, 200, 0.012),
        ("/b", False, 500, None),
    ]
    assert found[0].t == pytest.approx(1795951250.111)
    assert found[0].visitor != found[1].visitor


def test_cookie_out_of_a_cookie_header() -> None:
    found, reading = reading_of("cloudfront.log", session=SessionKey("cookie", "sessionid"))
    assert reading.report.visitors_by == ("cookie sessionid; 2 of 3 requests without it by address and agent")
    assert len({request.visitor for request in found}) == 3


def test_fields_lines_count_only_where_columns_are_read(tmp_path: Path) -> None:
    log = tmp_path / "mixed.log"
    log.write_bytes((LOGS / "iis.log").read_bytes() + (LOGS / "nginx-main.log").read_bytes())
    for name, forms in (
        ("iis", {"IIS (W3C)"}),
        ("nginx", {"nginx main"}),
        (None, {"IIS (W3C)", "nginx main"}),
    ):
        reading = read([str(log)], ReadingOptions(format=name))
        list(reading)
        assert {form.name for form in reading.report.formats} == forms


def test_command_line_options_are_read() -> None:
    options = reading_options(
        log_format="$status", fields=["status=response.code"], session="cookie:sid", zone="Europe/Berlin"
    )
    assert (options.log_format, options.fields) == ("$status", {"status": "response.code"})
    assert options.session == SessionKey("cookie", "sid")
    assert datetime(2026, 7, 1, tzinfo=options.timezone).utcoffset() == timedelta(hours=2)
    assert reading_options(zone="-03:30").timezone == timezone(timedelta(hours=-3, minutes=-30))
    assert reading_options().timezone is None


def test_every_wrong_option_is_said() -> None:
    with pytest.raises(UsageError) as error:
        reading_options(fields=["status", "time=a", "time=b"], session="cookie:", zone="Mars/North")
    assert [problem.partition(": ")[0] for problem in error.value.problems] == [
        "--field status",
        "--field time",
        "--session cookie:",
        "--timezone Mars/North",
    ]


def test_reading_is_iterated_once() -> None:
    _, reading = reading_of("nginx-main.log")
    with pytest.raises(RuntimeError, match="once"):
        list(reading)


def test_colours_of_a_terminal_and_container_lines_are_taken_off(tmp_path: Path) -> None:
    coloured = (
        '\x1b[32mINFO\x1b[0m:     127.0.0.1:36100 - "\x1b[1mGET /a?b=1 HTTP/1.1\x1b[0m" \x1b[32m200 OK\x1b[0m'
    )
    log = tmp_path / "pod.log"
    log.write_text(f"2026-11-29T11:20:54.398Z stdout F {coloured}\n" * 2)
    reading = read([str(log)])
    assert sent(list(reading)) == {("GET", "/a", True)}
    assert reading.report.formats[0].name == "uvicorn"


@pytest.mark.parametrize(
    "around",
    [
        "2026-11-29T11:20:54.398123456Z stdout F {}",
        "<134>1 2026-11-29T11:20:28.066041+00:00 host nginx 9253 - - {}",
        "<190>Nov 29 11:20:28 host nginx: {}",
        "Nov  9 11:20:28 host nginx[12]: {}",
        "2026-11-29T11:20:28.066041+00:00 host nginx[12]: {}",
        "2026-11-29T11:20:28Z {}",
        "web-1  | {}",
        "nginx_1 | {}",
    ],
)
def test_line_inside_of_another_is_read_with_its_own_time(tmp_path: Path, around: str) -> None:
    lines = (LOGS / "nginx-main.log").read_text().splitlines()
    log = tmp_path / "wrapped.log"
    log.write_text("".join(around.format(line) + "\n" for line in lines))
    found = list(read([str(log)]))
    plain, _ = reading_of("nginx-main.log")
    assert [request[:7] for request in found] == [request[:7] for request in plain]


@pytest.mark.parametrize(
    "around",
    [
        {"log": "{}\n", "stream": "stdout", "time": "2026-11-29T11:20:28Z"},
        {"@timestamp": "2026-11-29T11:20:28Z", "message": "{}", "agent": {"type": "filebeat"}},
        {"MESSAGE": "{}", "__REALTIME_TIMESTAMP": "1795951228000000"},
    ],
)
def test_line_inside_of_json_is_read(tmp_path: Path, around: dict[str, object]) -> None:
    lines = (LOGS / "nginx-main.log").read_text().splitlines()
    log = tmp_path / "wrapped.log"
    [key] = [key for key, value in around.items() if isinstance(value, str) and "{}" in value]
    rows = [around | {key: str(around[key]).replace("{}", line)} for line in lines]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain, _ = reading_of("nginx-main.log")
    assert [request[:7] for request in read([str(log)])] == [request[:7] for request in plain]


def test_ingress_and_classic_load_balancer_lines_have_durations(tmp_path: Path) -> None:
    log = tmp_path / "mixed.log"
    log.write_text(
        '192.0.2.7 - - [29/Nov/2026:11:20:28 +0000] "GET /a?x HTTP/1.1" 200 12 "-" "Example/1.0" 512 0.250 '
        "[shop-web-80] [] 198.51.100.4:8080 12 0.249 200 0f1e2d3c\n"
        "2026-11-29T11:20:29.500000Z my-elb 192.0.2.7:2817 198.51.100.1:80 0.000073 0.001048 0.000057 "
        '200 200 0 29 "GET http://www.example.com:80/b HTTP/1.1" "Example/1.0" - -\n'
    )
    found = list(read([str(log)]))
    assert [(request.path, request.seconds) for request in found] == [("/a", 0.25), ("/b", 0.001178)]
    assert found[0].t == pytest.approx(1795951227.75)
    assert found[0].visitor == found[1].visitor


def test_field_that_the_first_json_line_lacks_is_read_in_others(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    row = {"time": "2026-11-29T11:20:28Z", "method": "GET", "path": "/a", "status": 200, "remote_user": None}
    log.write_text("".join(json.dumps(row | {"remote_user": user}) + "\n" for user in (None, "a", "b", "a")))
    reading = read([str(log)])
    visitors = [request.visitor for request in reading]
    assert len(set(visitors)) == 3
    assert visitors[1] == visitors[3]
    assert [form.name for form in reading.report.formats] == [
        "JSON lines (time=time, method=method, path=path, status=status)"
    ]


def test_every_name_of_a_format_stands_for_known_ones() -> None:
    known = {form.name for form in chosen_formats(ReadingOptions()).formats}
    assert {name for names in NAMES.values() for name in names} == known
    for name, formats in NAMES.items():
        choice = chosen_formats(ReadingOptions(format=name))
        assert {form.name for form in choice.formats} == set(formats)
        assert choice.columns == (name in {"cloudfront", "iis", "w3c"})


@pytest.mark.parametrize(
    ("session", "visitors"),
    [
        (SessionKey(), 2),  # the session
        (SessionKey("cookie", "basket"), 3),
        (SessionKey("header", "X-User"), 1),
        (SessionKey("address"), 4),
    ],
)
def test_session_of_json_lines_is_what_was_asked_for(
    tmp_path: Path, session: SessionKey, visitors: int
) -> None:
    log = tmp_path / "app.log"
    row = {"time": "2026-11-29T11:20:28Z", "method": "GET", "path": "/a", "status": 200, "http_x_user": "u"}
    rows = [
        row | {"ip": f"192.0.2.{at}", "session_id": f"s{at % 2}", "http_cookie": f"a=1; basket=b{at % 3}"}
        for at in range(4)
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reading = read([str(log)], ReadingOptions(session=session))
    assert len({request.visitor for request in reading}) == visitors


def test_header_of_caddy_tells_visitors_apart(tmp_path: Path) -> None:
    line = json.loads((LOGS / "caddy.log").read_text().splitlines()[0])
    log = tmp_path / "caddy.log"
    with log.open("w") as file:
        for user in ("a", "b", "a"):
            line["request"]["headers"]["X-User"] = [user]
            file.write(json.dumps(line) + "\n")
    reading = read([str(log)], ReadingOptions(session=SessionKey("header", "x-user")))
    assert len({request.visitor for request in reading}) == 2
    assert reading.report.visitors_by == "header x-user"
