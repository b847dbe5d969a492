"""Starts, meters and ends child processes, even if the harness itself is killed."""
