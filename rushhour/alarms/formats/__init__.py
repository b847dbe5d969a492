"""Alarms as teams have them: each format is read into the policies that the audit replays."""
