"""The releases, oldest first. A release decides which database a customer's referrals are read from."""

from collections.abc import Callable

from flask import Flask

from app.connectors import Connector
from app.releases import v1_0, v1_1, v1_1_1

# Given the application and the connectors to primary and replica: the connector for lists of referrals.
Release = Callable[[Flask, Connector, Connector], Connector]

RELEASES: dict[str, Release] = {
    "1.0": v1_0.referrals_connector,
    "1.1": v1_1.referrals_connector,
    "1.1.1": v1_1_1.referrals_connector,
}
NEWEST = list(RELEASES)[-1]
