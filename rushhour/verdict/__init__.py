"""Judges a run: scenario, history and diagnosis to a verdict (pure)."""
