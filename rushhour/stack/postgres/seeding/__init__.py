"""The rows that the databases start with."""
