"""Ways of going wrong: the same API with one defect, or with that defect's cured twin.

REFERRALS_DEFECT names a defect, REFERRALS_CURED=yes takes its twin. The first one of the zoo is not here,
since it is a release: `scope-never-removed` is 1.1, and its twin 1.1.1.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # app.config, which knows the names, imports this module
    from flask import Flask

    from app.config import Config
    from app.connectors import Connectors

    Install = Callable[[Flask, Connectors, Config], None]

LIST: Final = "referrals.list_referrals"  # the endpoint that most defects live in

DEFECTS: Final = {  # -> module of this package and its function, imported only when it is let in
    "unclosed-early-return": "unclosed_path:install_early_return",
    "unclosed-error-path": "unclosed_path:install_error_path",
    "dropped-session": "dropped_session:install",
    "held-across-external-wait": "held_across_external_wait:install",
    "saturation": "saturation:install",
    "nested-checkout": "nested_checkout:install",
    "abandoned-stream": "abandoned_stream:install",
    "server-limit": "server_limit:install",
    "slow-or-dead-backend": "slow_or_dead_backend:install",
    "fork-shared": "fork_shared:install",
    "blocked-worker": "blocked_worker:install",
    "leak-under-saturation": "leak_under_saturation:install",
    "routed-session": "routed_session:install",
}


def let_in(app: "Flask", connectors: "Connectors", config: "Config") -> None:
    """Replace a part of the application by the defect of this configuration, or by its twin."""
    if config.defect is None:
        return
    module, _, function = DEFECTS[config.defect].partition(":")
    install: Install = getattr(import_module(f"{__name__}.{module}"), function)
    install(app, connectors, config)
