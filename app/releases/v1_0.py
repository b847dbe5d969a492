"""1.0: lists of referrals are read from the primary, whose session every request releases."""

from flask import Flask

from app.connectors import Connector


def referrals_connector(_app: Flask, primary: Connector, _replica: Connector) -> Connector:
    return primary
