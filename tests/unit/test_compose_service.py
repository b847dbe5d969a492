"""A service of the user's own Compose file as target: its override, its source, what is refused."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from ruamel.yaml import YAML

from rushhour.errors import UsageError
from rushhour.process.guard import Guard
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import SCENARIO, Scenario
from rushhour.stack.compose.engine import Engine
from rushhour.stack.compose.files import servers_file
from rushhour.stack.compose_service.override import SERVERS_NETWORK, Injection, Mount, image_of, override_file
from rushhour.stack.compose_service.user_file import Bind, UserFile, parse_config, port_of, refusals
from rushhour.stack.compose_service.waiting import why_silent
from rushhour.stack.open import StackOptions, open_stack

SCENARIOS = """\
defaults:
  target:
    compose: compose.yaml
    service: shop
    health: /health
    environment: { DATABASE_URL: "{primary_url}" }
  load: { users: 20, duration: 20s, locustfile: users.py }
  thresholds: [queuepool_timeouts == 0]
scenarios:
  evening: { expect: healthy }
  own-database:
    target: { environment: { DATABASE_URL: "postgresql://db/shop" } }
    expect: healthy
  by-command:
    target: { command: "gunicorn shop:app -b {host}:{port}" }
    expect: healthy
"""
COMPOSE = """\
services:
  shop: { build: ., ports: ["8000:8000"], depends_on: [db] }
  db: { image: "postgres:18" }
"""
# What `docker compose config --format json` says of such a file, shortened.
CONFIG: dict[str, Any] = {
    "services": {
        "shop": {
            "build": {"context": "/home/me/shop", "dockerfile": "Dockerfile"},
            "image": "shop:dev",
            "container_name": "shop",
            "depends_on": {"db": {"condition": "service_healthy", "required": True}},
            "deploy": {
                "replicas": 2,
                "resources": {"limits": {"cpus": 0.5}},
                "restart_policy": {"condition": "any"},
            },
            "environment": {"PRICE": "5$$", "UNSET": None},
            "networks": {"backend": None},
            "ports": [{"target": 8000, "published": "8000", "protocol": "tcp"}],
            "volumes": [
                {"type": "bind", "source": "/home/me/shop/src", "target": "/srv/shop"},
                {"type": "volume", "source": "cache", "target": "/cache"},
            ],
        },
        "db": {
            "image": "postgres:18",
            "networks": {"backend": None},
            "ports": [{"target": 5432, "published": "5432", "protocol": "tcp"}],
            "volumes": [{"type": "volume", "source": "data", "target": "/var/lib/postgresql"}],
        },
        "mail": {"image": "mail", "networks": {"office": None}, "network_mode": "host"},
    },
    "networks": {"backend": {"name": "me_backend"}, "office": {"name": "office", "external": True}},
    "volumes": {"data": {"name": "shop_data"}, "cache": {"name": "me_cache"}},
}
LABELS = {"rushhour.project": "p"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users.py").touch()
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    return tmp_path


@pytest.fixture
def file() -> UserFile:
    return parse_config(CONFIG)


def load(folder: Path, text: str = SCENARIOS) -> dict[str, Scenario]:
    path = folder / "scenarios.yaml"
    path.write_text(text)
    return dict(load_scenarios(path).scenarios)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(folder, text)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def laid_over(file: UserFile, injection: Injection) -> Any:
    """The override as Compose reads it, its tags aside."""
    yaml = YAML(typ="rt")
    return yaml.load(override_file(file, "shop", "p", LABELS, injection))


def test_a_target_names_a_compose_service(folder: Path) -> None:
    scenarios = load(folder)
    evening = scenarios["evening"]
    assert (evening.target.compose, evening.target.service, evening.target.port) == (
        ("compose.yaml",),
        "shop",
        0,
    )
    assert evening.wants_servers
    assert not scenarios["own-database"].wants_servers
    assert scenarios["by-command"].target.compose == ()  # another way replaces it, and what goes with it
    assert scenarios["by-command"].wants_servers
    assert SCENARIO.validate_json(SCENARIO.dump_json(evening)) == evening


def test_several_files_are_laid_over_each_other(folder: Path) -> None:
    (folder / "load.yaml").write_text("networks: { proxy: !override {}, old: !reset null }")
    text = SCENARIOS.replace("compose: compose.yaml", "compose: [compose.yaml, load.yaml]")
    assert load(folder, text)["evening"].target.compose == ("compose.yaml", "load.yaml")


def test_a_relative_root_starts_at_the_scenario_file(folder: Path) -> None:
    (folder / "load").mkdir()
    text = SCENARIOS.replace("    service: shop", "    service: shop\n    root: ..")
    assert load(folder / "load", text)["evening"].target.root == str(folder)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "compose: compose.yaml",
            "compose: compose.yml",
            "scenarios.yaml:3: scenarios.evening.target.compose: no such file: compose.yml",
        ),
        (
            "service: shop",
            "service: shp",
            "scenarios.yaml:4: scenarios.evening.target.service: no service 'shp' in compose.yaml; did",
        ),
        ("    service: shop\n", "", "scenarios.evening.target.compose: needs `service`"),
        ("service: shop", "service: shop\n    app: shop:app", "has app and compose"),
        (
            "service: shop",
            "service: shop\n    python: .venv/bin/python",
            "python: means nothing with `compose`",
        ),
        (
            "service: shop",
            "service: shop\n    port: 70000",
            "target.port: input should be less than or equal",
        ),
        ("evening: {", "evening: { service: { arguments: --preload },", "that file has the command"),
        ("evening: {", 'evening: { service: { partner: "p" },', "under `depends_on`"),
        (
            "evening: {",
            "evening: { faults: [{at: 1s, server: replica, do: black-hole}],",
            "need a relay, which only the embedded stack has",
        ),
        (
            'DATABASE_URL: "postgresql://db/shop" } }',
            'DATABASE_URL: "postgresql://db/shop" } }\n    faults: [{at: 1s, server: primary, do: pause}]',
            "scenarios.own-database.faults: the database of a Compose file is not rushhour's to break",
        ),
        (
            'DATABASE_URL: "postgresql://db/shop" } }',
            'DATABASE_URL: "postgresql://db/shop" } }\n    thresholds: [replica_lag_max < 1s]',
            "replica_lag_max is seen on rushhour's own servers alone",
        ),
        (
            '{ command: "gunicorn shop:app -b {host}:{port}" }',
            '{ command: "gunicorn {port}", port: 80 }',
            "port: means nothing without `compose`",
        ),
    ],
)
def test_bad_input_is_reported_with_its_line(folder: Path, old: str, new: str, told: str) -> None:
    assert old in SCENARIOS
    found = problems(folder, SCENARIOS.replace(old, new))
    assert any(told in item for item in found), found
    assert all(item.startswith("scenarios.yaml:") for item in found)


def test_invalid_yaml_in_a_compose_file_is_reported_with_its_line(folder: Path) -> None:
    (folder / "compose.yaml").write_text("services:\n  shop: [\n")
    assert "target.compose: compose.yaml:3: not YAML" in problems(folder, SCENARIOS)[0]


def test_a_file_that_includes_others_is_left_to_compose(folder: Path) -> None:
    (folder / "compose.yaml").write_text("include: [shop.yaml]\nservices: {}\n")
    assert load(folder)["evening"].target.service == "shop"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            StackOptions("embedded", None, None, None),
            "--stack embedded: the service of scenario evening runs in",
        ),
        (
            StackOptions("auto", "shop:rc", None, None),
            "--image: the service of scenario evening comes from compose.yaml",
        ),
    ],
)
def test_options_that_contradict_it(folder: Path, options: StackOptions, told: str) -> None:
    evening = load(folder)["evening"]
    with pytest.raises(UsageError, match=told):
        open_stack(options, Guard(), [evening], lambda *_: None, print)


def test_what_is_read_of_the_file(file: UserFile) -> None:
    shop = file.services["shop"]
    assert shop.environment == {"PRICE": "5$"}
    assert shop.binds == (Bind(Path("/home/me/shop/src"), PurePosixPath("/srv/shop")),)
    assert (shop.ports, shop.volumes, shop.depends_on, shop.cores) == ((8000,), ("cache",), ("db",), 0.5)
    assert [service.name for service in file.started_with("shop")] == ["shop", "db"]
    assert file.networks == {"backend": False, "office": True}
    assert list(refusals(file, "shop", 0)) == []  # mail, and its external network, are not started


def test_the_port_is_the_only_one_that_is_published_unless_it_is_named(file: UserFile) -> None:
    assert port_of(file, "shop", 0) == 8000
    assert port_of(file, "shop", 9000) == 9000
    assert port_of(file, "mail", 0) == 0
    exposed = parse_config({"services": {"shop": {"image": "shop", "expose": ["8080/tcp"]}}})
    assert port_of(exposed, "shop", 0) == 8080


def test_what_cannot_be_a_target_is_refused_all_at_once(file: UserFile) -> None:
    assert list(refusals(file, "shp", 0)) == ["no service 'shp'; it has: shop, db, mail"]
    found = list(refusals(file, "mail", 0))
    assert len(found) == 3
    assert "services.mail: `network_mode: host` leaves no port to publish" in found[0]
    assert "services.mail: say where it listens: `port` of the target (the file names: none)" in found[1]
    assert "services.mail: the network office is external" in found[2]
    assert found[2].endswith("gives it its own: `networks: {office: !override {}}`")


def test_the_override_publishes_one_port_and_names_everything_after_the_run(file: UserFile) -> None:
    text = override_file(file, "shop", "p", LABELS, Injection("127.0.0.1:40123:8000"))
    found = YAML(typ="rt").load(text)
    shop, database = found["services"]["shop"], found["services"]["db"]
    assert shop["ports"] == ["127.0.0.1:40123:8000"]
    assert shop["ports"].tag.value == "!override"  # not added to those of the file
    assert (database["ports"], database["ports"].tag.value) == ([], "!reset")
    assert (shop["container_name"], shop["image"]) == ("p-shop-1", "p-shop")
    assert "container_name" not in database
    assert "image" not in database  # it is pulled, not built
    assert shop["healthcheck"] == {"disable": True}
    assert shop["restart"] == database["restart"] == "no"
    assert shop["deploy"] == {"restart_policy": {"condition": "none"}, "replicas": 1}
    assert found["networks"] == {"backend": {"name": "p_backend", "labels": LABELS}}
    assert found["volumes"]["data"] == {"name": "p_data", "labels": LABELS}  # never the user's own data
    assert all(service["labels"] == LABELS for service in found["services"].values())
    assert shop["build"]["labels"] == LABELS


def test_the_override_gives_the_service_agent_servers_and_environment(file: UserFile) -> None:
    injection = Injection(
        "127.0.0.1:1:8000",
        environment={"URL": "a$b"},
        mounts=(Mount("/home/me/agent", "/rushhour/agent", read_only=True),),
        network="ours_default",
        cpu_shares=110,
    )
    found = laid_over(file, injection)
    shop = found["services"]["shop"]
    assert shop["environment"] == {"URL": "a$$b"}
    assert shop["volumes"] == [
        {"type": "bind", "source": "/home/me/agent", "target": "/rushhour/agent", "read_only": True}
    ]
    assert list(shop["networks"]) == ["backend", SERVERS_NETWORK]  # its own networks stay
    assert found["networks"][SERVERS_NETWORK] == {"external": True, "name": "ours_default"}
    assert shop["cpu_shares"] == 110
    assert "environment" not in found["services"]["db"]


def test_images_that_are_not_built_keep_their_name(file: UserFile) -> None:
    assert image_of("p", file.services["shop"]) == "p-shop"
    assert image_of("p", file.services["db"]) == "postgres:18"


def test_the_servers_have_names_that_no_service_of_the_users_has() -> None:
    engine = Engine(
        "unix:///run/engine.sock", "127.0.0.1", "20.10.24", (1, 41), "2.26.1", cpus=4, cgroups="1"
    )
    services = YAML(typ="safe").load(servers_file(engine))["services"]
    assert services["replica"]["networks"]["default"]["aliases"] == ["rushhour-replica"]
    assert set(services) == {"primary", "replica"}


@pytest.mark.parametrize(
    ("log", "versions", "told"),
    [
        (
            ["rushhour agent: not started: ImportError: it needs CPython 3.11 or newer, this is 3.9.2"],
            {},
            "it says: not started: ImportError: it needs CPython 3.11 or newer, this is 3.9.2",
        ),
        (["hello"], {}, "it has no Python on its PATH, and the agent needs CPython 3.11 or newer"),
        (["hello"], {"python": "Python 3.12.1"}, "it has Python 3.12.1, and the service was started without"),
    ],
)
def test_why_no_agent_reports(log: list[str], versions: Mapping[str, str], told: str) -> None:
    assert why_silent(log, versions.get).startswith(told)
