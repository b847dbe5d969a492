"""Reads and validates scenario files."""
