"""Installs the configured defect, or its cured twin, in the application."""

from collections.abc import Callable
from importlib import import_module

from flask import Flask

from app.config import Config
from app.connectors import Connectors
from app.zoo import DEFECTS

Install = Callable[[Flask, Connectors, Config], None]


def let_in(app: Flask, connectors: Connectors, config: Config) -> None:
    """Replace a part of the application by the defect of this configuration, or by its twin."""
    if config.defect is None:
        return
    module, _, function = DEFECTS[config.defect].partition(":")
    install: Install = getattr(import_module(f"{__package__}.{module}"), function)
    install(app, connectors, config)
