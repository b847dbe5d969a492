"""The service's settings."""

import pytest

from app import create_app
from app.config import ConfigError, from_environment

URL = "postgresql+psycopg2://referrals:secret@127.0.0.1:5432/referrals"
NEEDED = {"REFERRALS_PRIMARY_URL": URL, "REFERRALS_REPLICA_URL": URL.replace("5432", "5433")}


def test_defaults_are_those_of_the_incident() -> None:
    config = from_environment(NEEDED)
    assert (config.pool_size, config.max_overflow, config.pool_timeout_s) == (20, 10, 30.0)
    assert config.release == "1.1.1"
    assert config.replica_url.endswith(":5433/referrals")


def test_every_setting_is_read() -> None:
    config = from_environment(
        NEEDED
        | {
            "REFERRALS_RELEASE": "1.0",
            "REFERRALS_POOL_SIZE": "3",
            "REFERRALS_MAX_OVERFLOW": "0",
            "REFERRALS_POOL_TIMEOUT": "0.5",
            "REFERRALS_SECRET": "of its own",
        }
    )
    assert (config.release, config.pool_size, config.max_overflow) == ("1.0", 3, 0)
    assert (config.pool_timeout_s, config.secret) == (0.5, "of its own")


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        from_environment(
            {
                "REFERRALS_PRIMARY_URL": "postgresql://referrals@127.0.0.1/referrals",
                "REFERRALS_RELEASE": "2.0",
                "REFERRALS_POOL_SIZE": "0",
                "REFERRALS_MAX_OVERFLOW": "-1",
                "REFERRALS_POOL_TIMEOUT": "half a minute",
                "REFERRALS_SECRET": "",
            }
        )
    assert str(raised.value).splitlines() == [
        "REFERRALS_PRIMARY_URL names the driver postgresql, not postgresql+psycopg2",
        "REFERRALS_REPLICA_URL is not set",
        "REFERRALS_SECRET is empty",
        "REFERRALS_RELEASE is '2.0', not one of 1.0, 1.1, 1.1.1",
        "REFERRALS_POOL_SIZE is '0', not a whole number of at least 1",
        "REFERRALS_MAX_OVERFLOW is '-1', not a whole number of at least 0",
        "REFERRALS_POOL_TIMEOUT is 'half a minute', not a number of seconds above 0",
    ]


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "0", "", "30s"])
def test_time_outs_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="REFERRALS_POOL_TIMEOUT"):
        from_environment(NEEDED | {"REFERRALS_POOL_TIMEOUT": text})


def test_an_unreadable_url() -> None:
    with pytest.raises(ConfigError, match="REFERRALS_PRIMARY_URL is not a database URL"):
        from_environment(NEEDED | {"REFERRALS_PRIMARY_URL": "127.0.0.1:5432"})


def test_workers_agree_on_a_secret_that_is_not_in_the_open() -> None:
    first, second = from_environment(NEEDED), from_environment(NEEDED)
    assert first.secret == second.secret
    other = from_environment(NEEDED | {"REFERRALS_PRIMARY_URL": URL.replace("secret", "changed")})
    assert other.secret != first.secret
    assert "secret" not in repr(first)
    assert URL not in repr(first)


def test_the_factory_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (NEEDED | {"REFERRALS_POOL_SIZE": "many"}).items():
        monkeypatch.setenv(name, text)
    with pytest.raises(ConfigError, match="REFERRALS_POOL_SIZE is 'many'"):
        create_app()
