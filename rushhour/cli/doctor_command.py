"""`rushhour doctor`: which stacks this machine can run."""

from pathlib import Path

import click

from rushhour.cli.as_json import json_option, print_json
from rushhour.cli.console import console
from rushhour.cli.options import Exit, postgres_bin_option
from rushhour.jobs.doctor import examine, render_findings


@click.command(short_help="Say which stacks this machine can run.")
@postgres_bin_option
@json_option
def doctor(postgres_bin: Path | None, *, as_json: bool) -> int:
    """Say which stacks this machine can run, and what is missing for the others."""
    findings = examine(postgres_bin)
    if as_json:
        print_json(findings)
    else:
        console.print(render_findings(findings))
    return Exit.MET if all(finding.ok for finding in findings) else Exit.UNKNOWN
