"""Forecasts a production from a saved run."""
