"""No output of `rushhour traffic` holds a value of a client: address, user, token, query, id, agent."""

import string
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from rushhour.jobs.traffic.build import Asked
from rushhour.jobs.traffic.compare import compare
from rushhour.jobs.traffic.options import ReadingOptions
from rushhour.jobs.traffic.outputs import Outputs, write_comparison, write_outputs
from rushhour.jobs.traffic.scenario_text import ScenarioAsked
from rushhour.jobs.traffic.service import Service
from rushhour.jobs.traffic.study import study
from rushhour.jobs.traffic.words import terminal_comparison, terminal_model

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
