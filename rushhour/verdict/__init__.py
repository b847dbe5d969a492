"""Scenario, history and diagnosis -> verdict (pure)."""
