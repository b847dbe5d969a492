"""The pager: records every notification, and counts answers in the service's access log.

It runs in a container of the Compose stack, beside a real Prometheus and Alertmanager: standard library only,
and it imports nothing of rushhour.
"""
