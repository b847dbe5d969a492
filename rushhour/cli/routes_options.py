"""Options that say where the routes of a service are read from."""

import click

from rushhour.cli.options import Command, path_option


def routes_options(command: Command) -> Command:
    """Add the application, the document and the Python that routes are read from."""
    for option in (
        path_option(
            "--python",
            None,
            "Python of the service's own environment, for --app; .venv/bin/python is taken where there is "
            "one.",
        ),
        path_option(
            "--openapi", None, "Read the routes from this OpenAPI document, JSON or YAML: openapi.json."
        ),
        click.option(
            "--app",
            metavar="MODULE:APP",
            help="Import this Flask, FastAPI or Starlette application and read its routes: shop:app.",
        ),
    ):
        command = option(command)
    return command
