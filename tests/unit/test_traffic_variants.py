"""Access logs of known servers in the variants that their users configure, each with the same requests."""

import json
from pathlib import Path

import pytest

from rushhour.jobs.traffic.options import reading_options
from rushhour.jobs.traffic.reading import read
from rushhour.jobs.traffic.record import Logged, ReadingReport

AGENTS = ("Browser/1.0 (X11; en)", "App/4.2")
CLF = "28/May/2026:20:26:{s:02d} +0000"
COMBINED = '{ip} - - [28/May/2026:20:26:{s:02d} +0000] "GET /orders/{n}?q=a HTTP/1.1" 200 512 "-" "{agent}"'
UVICORN = '{ip}:{port} - "GET /orders/{n}?q=a HTTP/1.1" 200'
ISO = "2026-05-28T20:26:{s:02d}"

LINES = {
    "uvicorn, the time first": "2026-05-28 20:26:{s:02d},125 - INFO - " + UVICORN + " OK",
    "uvicorn, the name behind": "2026-05-28 20:26:{s:02d},125 INFO:     uvicorn.access: " + UVICORN,
    "uvicorn, the level first": "INFO:     2026-05-28 20:26:{s:02d} uvicorn.access - " + UVICORN,
    "uvicorn, all in brackets": "[2026-05-28 20:26:{s:02d},125] [INFO] [uvicorn.access] [Main] " + UVICORN,
    "uvicorn, with bars": "2026-05-28 20:26:{s:02d}.125 | INFO | uvicorn:send:476 - " + UVICORN,
    "uvicorn, with a process": "2026-05-28 20:26:{s:02d},125 [4711] INFO uvicorn.access " + UVICORN,
    "uvicorn, the time as in common logs": "[" + CLF + "] INFO " + UVICORN,
    "a container runtime": ISO + ".125Z stdout F " + COMBINED,
    "journald, short-iso": ISO + "+0000 web1 gunicorn[812]: " + COMBINED,
    "journald, short-precise": "May 28 20:26:{s:02d}.125000 web1 gunicorn[812]: " + COMBINED,
    "kubectl logs --prefix": "[pod/shop-7d9f8b-abcde/app] " + COMBINED,
    "kubectl logs --prefix --timestamps": "[pod/shop-7d9f8b-abcde/app] " + ISO + ".125Z INFO:     " + UVICORN,
    "stern": "shop-7d9f8b-abcde app " + COMBINED,
    "hypercorn": "[2026-05-28 20:26:{s:02d} +0000] [4711] [INFO] {ip}:{port} - - [" + CLF + "] "
    '"GET /orders/{n}?q=a 2" 200 512 "-" "{agent}"',
    "daphne": "{ip}:{port} - - [28/May/2026:20:26:{s:02d}] " + '"GET /orders/{n}?q=a" 200 512',
    "uWSGI": "[pid: 12|app: 0|req: 5/9] {ip} () {{44 vars in 812 bytes}} [Thu May 28 20:26:{s:02d} 2026] "
    "GET /orders/{n}?q=a => generated 512 bytes in 31 msecs (HTTP/1.1 200) 3 headers in 112 bytes",
    "Granian": "[2026-05-28 20:26:{s:02d} +0000] {ip} - " + '"GET /orders/{n} HTTP/1.1" 200 31.250',
    "aiohttp, a logger's name before it": "INFO:aiohttp.access:{ip} [" + CLF + "] "
    '"GET /orders/{n}?q=a HTTP/1.1" 200 512 "-" "{agent}"',
    "aiohttp, the level and name before it": "INFO aiohttp.access {ip} [" + CLF + "] "
    '"GET /orders/{n}?q=a HTTP/1.1" 200 512 "-" "{agent}"',
    "combined, a logger's name before it": "INFO:wsgi:" + COMBINED,
    "combined, a logger's name and a port": "INFO:wsgi:" + COMBINED.replace("{ip}", "{ip}:{port}"),
    "combined, what a logger has": "2026-05-28 20:26:{s:02d},125 INFO  [wsgi:107][waitress-0] " + COMBINED,
    "Tornado, another logger's prefix": "2026-05-28 20:26:{s:02d},125 INFO tornado.access: "
    "200 GET /orders/{n}?q=a ({ip}) 31.25ms",
    "Sanic before 25": "[2026-05-28 20:26:{s:02d} +0000] - (sanic.access)[INFO][{ip}:{port}]: "
    "GET http://shop.example/orders/{n}?q=a  200 512",
    "Werkzeug in colours": "{ip} - - [28/May/2026 20:26:{s:02d}] "
    '"\x1b[35m\x1b[1mGET /orders/{n}?q=a HTTP/1.1\x1b[0m" 200 -',
    "X-Forwarded-For first": COMBINED.replace("{ip}", "{ip}, 10.0.0.7"),
    "X-Forwarded-For with ports": COMBINED.replace("{ip}", "{ip}:{port}, 10.0.0.7:443"),
}
JSON = {
    "uvicorn in JSON": {"asctime": "2026-05-28 20:26:{s:02d},125", "name": "x", "message": UVICORN},
    "journald in JSON": {"__REALTIME_TIMESTAMP": "17799999{s:02d}250000", "MESSAGE": "INFO:     " + UVICORN},
    "a day and a time apart": {
        "date": "2026-05-28",
        "time": "20:26:{s:02d}",
        "method": "GET",
        "path": "/orders/{n}?q=a",
        "status": "200",
        "client_ip": "{ip}",
    },
    "fluent-bit": {"date": "NUMBER", "log": UVICORN},
    "Google Cloud": {"timestamp": ISO + "Z", "textPayload": COMBINED},
}


def _read(tmp_path: Path, text: str) -> tuple[list[Logged], ReadingReport]:
    log = tmp_path / "access.log"
    log.write_text(text, encoding="utf-8")
    requests = read([str(log)], reading_options())
    return list(requests), requests.report


def _line(template: str, at: int) -> str:
    return template.format(s=at, n=100 + at, ip=f"203.0.113.{at % 4}", port=40_000 + at, agent=AGENTS[0])


def _lines(name: str) -> list[str]:
    if name in LINES:
        return [_line(LINES[name], at) for at in range(20)]
    found = []
    for at in range(20):
        fields: dict[str, object] = {key: _line(text, at) for key, text in JSON[name].items()}
        if fields.get("date") == "NUMBER":
            fields["date"] = 1_779_999_960.25 + at
        found.append(json.dumps(fields))
    return found


@pytest.mark.parametrize("name", [*LINES, *JSON])
def test_a_variant_is_read_as_its_server_means_it(name: str, tmp_path: Path) -> None:
    requests, report = _read(tmp_path, "\n".join(_lines(name)) + "\n")
    assert len(requests) == 20
    assert not report.skipped
    assert [request.path for request in requests] == [f"/orders/{100 + at}" for at in range(20)]
    assert {request.status for request in requests} == {200}
    assert requests[-1].t - requests[0].t == pytest.approx(19, abs=0.01)
    assert len({request.visitor for request in requests}) == 4  # one for each address, whatever its port


@pytest.mark.parametrize(
    "prefix",
    [ISO + ".125Z stdout F ", ISO + "+0000 web1 app[8]: ", "shop-7d9f8b-abcde app ", "web-1  | ", ""],
    ids=["a container runtime", "journald", "stern", "docker compose", "none"],
)
def test_a_prefix_does_not_hide_that_one_address_has_two_agents(prefix: str, tmp_path: Path) -> None:
    text = "".join(
        (prefix + COMBINED).format(s=at, n=at, ip="203.0.113.9", port=0, agent=AGENTS[at % 2]) + "\n"
        for at in range(20)
    )
    requests, report = _read(tmp_path, text)
    assert len({request.visitor for request in requests}) == 2
    assert report.visitors_by == "address and agent"


@pytest.mark.parametrize("address", ["", "-"], ids=["gunicorn on a Unix socket", "a server that logs none"])
def test_lines_without_an_address_are_of_one_visitor_whatever_the_agents(
    address: str, tmp_path: Path
) -> None:
    text = "".join(COMBINED.format(s=at, n=at, ip=address, agent=AGENTS[at % 2]) + "\n" for at in range(20))
    requests, report = _read(tmp_path, text)
    assert len({request.visitor for request in requests}) == 1
    assert report.visitors_by == "nothing, since no line has an address"


def test_a_user_may_have_spaces(tmp_path: Path) -> None:
    text = COMBINED.replace(" - - [", " - Ada Byron [").format(s=1, n=1, ip="203.0.113.9", agent="A") + "\n"
    _, report = _read(tmp_path, text)
    assert report.visitors_by == "a session cookie or user"


def test_cloudfronts_real_time_log_has_its_time_in_one_column(tmp_path: Path) -> None:
    fields = "#Fields: timestamp c-ip sc-status cs-method cs-uri-stem time-taken cs-user-agent\n"
    lines = "".join(
        f"17799999{at:02d}.250\t203.0.113.1\t200\tGET\t/orders/{at}?q=a\t0.031\tApp/4.2%20(X)\n"
        for at in range(20)
    )
    requests, _ = _read(tmp_path, fields + lines)
    assert len(requests) == 20
    assert requests[-1].t - requests[0].t == pytest.approx(19, abs=0.01)
    assert requests[0].seconds == pytest.approx(0.031)
