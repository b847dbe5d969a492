"""1.1.1: as 1.1, and the replica's session is released at the end of every request too."""

from flask import Flask

from app.connectors import Connector


def referrals_connector(app: Flask, _primary: Connector, replica: Connector) -> Connector:
    app.teardown_appcontext(replica.release)
    return replica
