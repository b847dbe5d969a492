"""Defects of the service: the same API with one defect, or with that defect cured.

REFERRALS_DEFECT names a defect, REFERRALS_CURED=yes selects its cured twin. `scope-never-removed` is
not here, because it is a release: 1.1, and cured 1.1.1.
"""

from typing import Final

LIST: Final = "referrals.list_referrals"  # the endpoint that most defects live in

DEFECTS: Final = {  # -> module of this package and its function, imported only when it is selected
    "unclosed-early-return": "unclosed_path:install_early_return",
    "unclosed-error-path": "unclosed_path:install_error_path",
    "dropped-session": "dropped_session:install",
    "held-across-external-wait": "held_across_external_wait:install",
    "saturation": "saturation:install",
    "own-lock-chain": "own_lock_chain:install",
    "nested-checkout": "nested_checkout:install",
    "held-while-streaming": "held_while_streaming:install",
    "abandoned-stream": "abandoned_stream:install",
    "server-limit": "server_limit:install",
    "slow-or-dead-backend": "slow_or_dead_backend:install",
    "fork-shared": "fork_shared:install",
    "blocked-worker": "blocked_worker:install",
    "leak-under-saturation": "leak_under_saturation:install",
    "routed-session": "routed_session:install",
}
