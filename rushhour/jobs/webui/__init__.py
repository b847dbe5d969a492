"""Locust's own web UI over a standing stack: `rushhour ui`.

`session` is the harness's side and `plugin` the side inside Locust; `messages` defines what they exchange.
"""
