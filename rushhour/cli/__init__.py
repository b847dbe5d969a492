"""Commands and exit codes: the only package that prints usage or exits."""

from rushhour.cli.main import cli, main

__all__ = ["cli", "main"]
