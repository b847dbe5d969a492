"""The console script: the only place that exits."""

import errno
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import FrameType

import click

from rushhour.cli import drills, runs, saved, services, stacks
from rushhour.cli.options import Exit
from rushhour.errors import RunDataError, StackError, UnavailableError, UsageError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rushhour")
def cli() -> None:
    """Brings rush hour to a release before its customers do.

    Exit codes: 0 every scenario met its expectation; 1 at least one did not; 2 none failed but at least one
    is unknown; 64 bad usage or a bad scenario file; 70 a fault of rushhour itself; 130 interrupted.
    """


for _command in (
    *(runs.run, runs.nightly, runs.check),
    *(saved.judge, saved.report, saved.alarms, saved.compare, saved.history, saved.list_scenarios),
    *(stacks.up, stacks.down, stacks.ui, stacks.worker, stacks.doctor),
    *(drills.drill, services.init, services.agent),
):
    cli.add_command(_command)


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(signum).name)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: runs a command and exits with its code."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    sys.exit(int(_exit_of(arguments)))


def _exit_of(arguments: Sequence[str] | None) -> int:
    try:
        return int(cli.main(args=arguments, standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        return _tell("interrupted; what was started has been stopped", Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last resort: everything is told in words
        return _failed(error)


def _failed(error: Exception) -> Exit:
    match error:
        case UsageError() | RunDataError():
            return _tell(error, Exit.USAGE)
        case StackError() | UnavailableError():
            return _tell(error, Exit.UNKNOWN)
        case OSError() if error.errno in DISK_FULL:
            what = error.filename or "a file of the run"
            return _tell(f"{error.strerror}: {what}; free space and run again", Exit.UNKNOWN)
    with tempfile.NamedTemporaryFile("w", prefix="rushhour-fault-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    told = f"{type(error).__name__}: {error}\n  traceback in {file.name}"
    return _tell(f"a fault of rushhour itself, please report it: {told}", Exit.FAULT)


def _tell(what: object, code: Exit) -> Exit:
    click.echo(f"rushhour: {what}", err=True)
    return code
