"""Reproduces connection-pool exhaustion before release."""
