"""The stack that needs no Docker."""
