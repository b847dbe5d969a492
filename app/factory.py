"""The application factory: `gunicorn 'app:create_app()'`."""

from flask import Flask

from app import auth, customers, errors, health, referrals
from app.config import Config, from_environment
from app.connectors import Connector, Connectors
from app.releases import RELEASES
from app.zoo.gate import let_in


def create_app(config: Config | None = None) -> Flask:
    """Make the service; without a config it is read from the environment. Raises ConfigError."""
    config = config or from_environment()
    app = Flask("app")
    app.config["SECRET_KEY"] = config.secret
    primary, replica = (
        Connector(url, config.pool_size, config.max_overflow, config.pool_timeout_s)
        for url in (config.primary_url, config.replica_url)
    )
    app.teardown_appcontext(primary.release)
    connectors = Connectors(primary, replica, referrals=RELEASES[config.release](app, primary, replica))
    app.extensions["connectors"] = connectors
    errors.register(app)
    for module in (health, auth, customers, referrals):
        app.register_blueprint(module.blueprint)
    let_in(app, connectors, config)
    return app
