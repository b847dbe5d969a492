"""The embedded stack: servers and service as processes, without Docker."""
