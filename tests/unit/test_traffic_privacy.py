"""No output of `rushhour traffic` holds a value of a client: address, user, token, query, id, agent."""

import json
import string
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from rushhour.errors import UsageError
from rushhour.jobs.traffic.build import Asked
from rushhour.jobs.traffic.compare import compare
from rushhour.jobs.traffic.options import ReadingOptions, session_key
from rushhour.jobs.traffic.outputs import Outputs, write_comparison, write_outputs
from rushhour.jobs.traffic.scenario_text import ScenarioAsked
from rushhour.jobs.traffic.service import Service
from rushhour.jobs.traffic.study import study
from rushhour.jobs.traffic.vocabulary import never_a_word
from rushhour.jobs.traffic.words import terminal_comparison, terminal_model
from tests.unit.traffic_samples import logged, modelled

WORD = st.text(string.ascii_lowercase, min_size=7, max_size=12)
TOKEN = st.text(string.ascii_letters + string.digits + "_-", min_size=20, max_size=40).map("tok{}9".format)
NUMBER = st.integers(10**8, 10**12).map(str)
EMAIL = WORD.map("{}@clients.example".format)
ADDRESS = st.one_of(
    st.integers(1, 254).map("198.51.100.{}".format), st.integers(1, 0xFFFE).map("2001:db8::{:x}".format)
)


@dataclass(frozen=True, slots=True)
class Client:
    """A visitor, and every value that is its own."""

    address: str
    user: str
    agent: str
    number: str
    token: str
    email: str
    slug: str
    query: str
    odd: str

    def values(self) -> tuple[str, ...]:
        return (
            self.address,
            self.user,
            self.agent,
            self.number,
            self.token,
            self.email,
            self.slug,
            self.query,
            self.odd,
        )


CLIENT = st.builds(
    Client,
    address=ADDRESS,
    user=WORD.map("user{}".format),
    agent=WORD.map("Agent-{}/7.1".format),
    number=NUMBER,
    token=TOKEN,
    email=EMAIL,
    slug=WORD.map("slug{}".format),
    query=WORD.map("query{}".format),
    odd=st.text(string.ascii_letters + "!$&'()*+,;=:@%{}<>`|é", min_size=6, max_size=20).map("odd~{}".format),
)
POPULAR = st.lists(WORD.map("popular{}".format), min_size=8, max_size=90, unique=True)


def lines(clients: Sequence[Client], popular: Sequence[str]) -> list[str]:
    """Some visits of each client; the popular slugs are asked for by many, and often."""
    found = []
    for round_ in range(12):
        for at, client in enumerate(clients):
            paths = [
                f"/customers/{client.number}/orders",
                f"/reset/{client.token}",
                f"/mail/{client.email}?next={client.query}",
                f"/profile/{client.slug}",
                f"/{client.slug}",
                f"/search?q={client.query}&t={client.token}",
                f"/files/{client.odd}",
                f"/known/{client.slug}/{client.number}/{client.slug}",
                f"/static/{client.slug}.js",
                f"/products/{popular[(at + round_) % len(popular)]}",
                f"/shop/{popular[(at * 3 + round_) % len(popular)]}/reviews",
                "/cart",
            ]
            for number, path in enumerate(paths):
                second = round_ * 120 + at + number
                stamp = f"24/Nov/2026:18:{second // 60:02}:{second % 60:02} +0000"
                method = "POST" if number == 11 else "GET"
                found.append(
                    f'{client.address} - {client.user} [{stamp}] "{method} {path} HTTP/1.1" 200 9 '
                    f'"https://site.example/{client.token}" "{client.agent}"'
                )
    return found


@given(st.lists(CLIENT, min_size=1, max_size=12), POPULAR)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
def test_no_output_contains_any_value_of_a_client(clients: list[Client], popular: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log, out = Path(folder) / "access.log", Path(folder) / "out"
        log.write_text("\n".join(lines(clients, popular)) + "\n", encoding="utf-8")
        model, report = study([str(log)], ReadingOptions(), Asked())
        said = write_outputs(model, Service(), ScenarioAsked("evening-peak"), Outputs(out), None)
        found = compare(model, model)
        said += write_comparison(found, model, model, Outputs(out))
        console = Console(width=400, record=True, file=(Path(folder) / "console").open("w", encoding="utf-8"))
        console.print(terminal_model(model, report))
        console.print(terminal_comparison(found))
        texts = {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()}
        texts["terminal"] = console.export_text() + "\n".join(said)
        console.file.close()
    values = {value for client in clients for value in client.values()} | {*popular}
    leaked = [(name, value) for name, text in texts.items() for value in values if value in text]
    assert leaked == []


NAME = st.text("bcdfghjklmnprstvwz", min_size=4, max_size=6).map(lambda text: "a".join(text) + "o")
HEX = st.text("0123456789abcdef", min_size=12, max_size=12)


@dataclass(frozen=True, slots=True)
class Roaming:
    """A client who is seen from many addresses, so that its own values look like those of many visitors."""

    name: str
    key: str

    def addresses(self) -> list[str]:
        plain = [f"203.0.113.{number}" for number in range(1, 13)]
        return plain + [f"2001:db8:{self.key[:4]}::{number:x}" for number in range(16, 28)]

    def values(self) -> dict[str, str]:
        """Each value of the client, by the path or header that it stands in."""
        name, key = self.name, self.key
        long = f"{key[:8]}-{key[:4]}-4{key[1:4]}-8{key[2:5]}-{key}"
        return {
            "person": name,
            "dotted": f"{name}.{name[::-1]}",
            "mail": f"{name}@{name}.example",
            "file": f"report-{name}.pdf",
            "host": f"{name}.clients.example",
            "order": "".join(chr(ord("A") + int(digit, 16)) for digit in key),
            "token": f"{name[::-1]}{name}",
            "jwt": f"eyJhbGciOiJIUzI1NiJ9.{key}.{name}-{key}",
            "uuid": long,
            "encoded": "".join(f"%{ord(letter):02X}" for letter in name),
            "script": f"%C3%A9{name}",
            "agent": f"{name.title()}Phone/3.1",
            "cookie": f"sid{key}",
            "query": f"q{key}{name}",
        }

    def paths(self) -> list[str]:
        own = self.values()
        return [
            f"/u/{own['person']}/profile",
            f"/{own['person']}/posts",
            f"/users/{own['dotted']}",
            f"/members/{own['mail']}/settings",
            f"/files/{own['file']}",
            f"/{own['file']}",
            f"/dns/{own['host']}",
            f"/orders/{own['order']}",
            f"/lookup/{own['order']}/state",
            f"/invite/{own['token']}",
            f"/verify/{own['jwt']}",
            f"/items/{own['uuid']}",
            f"/cart;jsessionid={own['cookie']}/items;id={own['query']}",
            f"/people/{own['encoded']}",
            f"/people/{own['script']}/friends",
            f"/search?q={own['query']}&mail={own['mail']}",
            f"http://{own['host']}/go/{own['uuid']}",
        ]


ROAMING = st.builds(Roaming, name=NAME, key=HEX)


def roaming_lines(clients: Sequence[Roaming], form: str) -> list[str]:
    found = []
    for at, client in enumerate(clients):
        own = client.values()
        for round_, address in enumerate(client.addresses()):
            for number, path in enumerate(client.paths()):
                second = round_ * 90 + number * 4 + at
                stamp = f"24/Nov/2026:18:{second // 60:02}:{second % 60:02} +0000"
                iso = f"2026-11-24T18:{second // 60:02}:{second % 60:02}Z"
                referer = f"https://{own['host']}/{own['token']}?{own['query']}"
                if form == "json":
                    fields = {
                        "time": iso,
                        "method": "GET",
                        "uri": path,
                        "status": 200,
                        "remote_addr": address,
                        "http_x_forwarded_for": f"{address}, 198.51.100.77",
                        "http_user_agent": own["agent"],
                        "http_referer": referer,
                        "http_cookie": f"session={own['cookie']}",
                        own["token"]: own["query"],
                    }
                    found.append(json.dumps(fields))
                    continue
                head = f'{address} - - [{stamp}] "GET {path} HTTP/1.1" 200 9 "{referer}" "{own["agent"]}"'
                tail = {"main": f' "{address}, 198.51.100.77"', "cookie": f" {own['cookie']}"}.get(form, "")
                found.append(head + tail)
    return found


FORMATS = {
    "combined": ReadingOptions(),
    "main": ReadingOptions(),
    "json": ReadingOptions(),
    "cookie": ReadingOptions(
        log_format='$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
        '"$http_referer" "$http_user_agent" $cookie_sid'
    ),
}


def said_of(log: Path, out: Path, reading: ReadingOptions) -> dict[str, str]:
    """Every text that the command leaves behind, by file; the terminal is one of them."""
    model, report = study([str(log)], reading, Asked())
    said = write_outputs(model, Service(), ScenarioAsked("evening-peak"), Outputs(out), None)
    found = compare(model, model)
    said += write_comparison(found, model, model, Outputs(out))
    with (out / "terminal").open("w", encoding="utf-8") as file:
        console = Console(width=400, file=file)
        console.print(terminal_model(model, report))
        console.print(terminal_comparison(found))
        console.print("\n".join(said))
    return {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()}


@pytest.mark.parametrize("form", FORMATS)
@given(clients=st.lists(ROAMING, min_size=2, max_size=3, unique_by=lambda client: client.name))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_values_of_a_client_who_looks_like_many_visitors_are_in_no_output(
    form: str, clients: list[Roaming]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log, out = Path(folder) / "access.log", Path(folder) / "out"
        log.write_text("\n".join(roaming_lines(clients, form)) + "\n", encoding="utf-8")
        texts = said_of(log, out, FORMATS[form])
    values = {value for client in clients for value in (*client.values().values(), *client.addresses())}
    values |= {client.name for client in clients}
    leaked = {(name, value) for name, text in texts.items() for value in values if value in text}
    assert leaked == set()
    assert form == "cookie" or "/profile" in texts["customers.py"]


def test_a_users_name_is_a_value_wherever_it_stands(tmp_path: Path) -> None:
    lines_ = [
        f"192.0.2.{number} - Marlowe@clients.example [24/Nov/2026:18:{number:02}:{5 * second:02} +0000] "
        f'"GET {path} HTTP/1.1" 200 9 "-" "App/1"'
        for number in range(1, 31)
        for second, path in enumerate(["/marlowe", "/dashboard", "/start/marlowe", "/cart"])
    ]
    log = tmp_path / "access.log"
    log.write_text("\n".join(lines_) + "\n", encoding="utf-8")
    texts = said_of(log, tmp_path / "out", ReadingOptions(session=session_key("address")))
    assert not [name for name, text in texts.items() if "marlowe" in text.lower()]
    assert "/dashboard" in texts["customers.py"]


@pytest.mark.parametrize(
    ("user", "segment"),
    [
        ("Ada Byron", "ada-byron"),
        ("ada.byron@clients.example", "AdaByron"),
        ("CORP\\\\ada_byron", "ada.byron"),
        ("adabyron", "list-of-adabyron"),
        ("zo\\xc3\\xab", "zo%C3%AB"),
    ],
)
def test_a_users_name_is_known_however_the_path_writes_it(user: str, segment: str, tmp_path: Path) -> None:
    lines_ = [
        f"192.0.2.{number} - {user} [24/Nov/2026:18:{number:02}:{5 * second:02} +0000] "
        f'"GET {path} HTTP/1.1" 200 9 "-" "App/1"'
        for number in range(1, 31)
        for second, path in enumerate([f"/{segment}/wishlist", "/dashboard"])
    ]
    log = tmp_path / "access.log"
    log.write_text("\n".join(lines_) + "\n", encoding="utf-8")
    texts = said_of(log, tmp_path / "out", ReadingOptions(session=session_key("address")))
    assert not [name for name, text in texts.items() if segment.lower() in text.lower()]
    assert "/wishlist" in texts["customers.py"]


@given(clients=st.lists(ROAMING, min_size=1, max_size=2))
@settings(max_examples=10, deadline=None)
def test_an_error_shows_no_part_of_a_line(clients: list[Roaming]) -> None:
    garbage = [line.replace("HTTP/1.1", "").replace("[", "") for line in roaming_lines(clients, "combined")]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "access.log"
        log.write_text("\n".join(garbage) + "\n", encoding="utf-8")
        with pytest.raises(UsageError) as error:
            study([str(log)], ReadingOptions(), Asked())
    values = {value for client in clients for value in (*client.values().values(), *client.addresses())}
    assert not [value for value in values if value in str(error.value)]


@pytest.mark.parametrize(
    ("word", "before", "own"),
    [
        ("orders", "", False),
        ("getCustomer", "api", False),
        ("export.csv", "orders", False),
        ("order-items", "", False),
        ("settings", "account", False),
        ("referenzen", "", False),
        ("index.php", "", False),
        ("alice", "users", True),
        ("alice", "u", True),
        ("alice.smith", "", True),
        ("report-jane.pdf", "", True),
        ("report-jane.pdf", "files", True),
        ("qwertzui", "invite", True),
        ("ABCDEFGH", "", True),
        ("bcdfg", "", True),
        ("html", "", False),
        ("helloworld.Greeter", "", False),
        ("Alice.Smith", "", True),
        ("alice.example.org", "", True),
        ("correct-horse-battery-staple", "welcome", True),
        ("ueber-uns", "", False),
        ("purple-monkey", "meet", True),
        ("pregnancy-test", "search", True),
        ("results", "search", False),
        ("alice.json", "export", True),
        ("orders.json", "export", False),
    ],
)
def test_a_word_that_a_client_may_have_chosen_is_never_the_programs(
    word: str, before: str, own: bool
) -> None:
    assert never_a_word(word, before) is own


def test_two_unknown_words_that_lead_to_the_same_words_are_values() -> None:
    people = [f"/{name}/posts" for name in ("maroka", "telvino")]
    requests = [logged(float(at), people[at % 2], f"visitor {at % 60}") for at in range(240)]
    requests += [logged(float(at), "/kunden/7/posts", f"visitor {at % 60}") for at in range(240)]
    found = [one.name for one in modelled(requests).endpoints]
    assert sorted(found) == ["GET /:slug/posts", "GET /kunden/:id/posts"]


def test_known_words_stay_beside_many_that_are_not() -> None:
    words = ("cart", "login", "search", "orders", *(f"wort{letter}" for letter in "abcdefgh"))
    requests = [logged(float(at), f"/{words[at % 12]}", f"visitor {at // 12 % 10}") for at in range(1_200)]
    found = sorted(one.name for one in modelled(requests).endpoints)
    assert found == ["GET /:slug", "GET /cart", "GET /login", "GET /orders", "GET /search"]


def test_a_word_of_no_list_stays_where_many_visitors_ask_for_it() -> None:
    requests = [logged(float(at), "/rechnungen", f"visitor {at % 25}") for at in range(100)]
    requests += [logged(float(at), "/mahnungen", f"visitor {at % 15}") for at in range(100)]
    requests += [logged(float(at), "/cart", f"visitor {at % 6}") for at in range(100)]
    found = sorted(one.name for one in modelled(requests).endpoints)
    assert found == ["GET /:slug", "GET /cart", "GET /rechnungen"]
