"""Computes the metrics of a run from its history (pure)."""
