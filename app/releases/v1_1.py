"""1.1: lists of referrals are read from the replica, which spares the primary its heaviest query."""

from flask import Flask

from app.connectors import Connector


def referrals_connector(_app: Flask, _primary: Connector, replica: Connector) -> Connector:
    return replica
