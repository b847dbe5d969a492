"""Judges run directories and writes verdict.json, alarms.json and the reports."""
