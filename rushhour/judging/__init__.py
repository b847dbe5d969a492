"""A run directory -> verdict.json, alarms.json and reports."""
