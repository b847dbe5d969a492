"""The console script: the only place that exits."""

import errno
import importlib
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, Final, TextIO

import click
from click.shell_completion import CompletionItem

from rushhour.cli.options import Exit
from rushhour.errors import (
    InsufficientDataError,
    NotWrittenError,
    RunDataError,
    StackError,
    UnavailableError,
    UsageError,
)
from rushhour.process.printable import clean, shortened, without_commands
from rushhour.rundir.masking import mask_text

MACHINE_LACKS: Final = {  # what the machine has not, so that nothing is known; with what to do
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space and run again"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit (ulimit -n) and run again"),
    **dict.fromkeys((errno.EROFS, errno.EIO, errno.ESTALE), "run again once its file system can be written"),
    errno.ENOMEM: "free memory and run again",
}
NOT_FOR_US: Final = {  # a path that was given leads nowhere, or not for this user
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENXIO),
}
FIRST_FILE: Final = 3  # after stdin, stdout and stderr
INSTALL_ALL: Final = "for everything: pip install 'rushhour[run]'"


COMMANDS: Final = {
    **dict.fromkeys(("check", "nightly", "run"), "run_commands"),
    "alarms": "alarm_commands",
    "capacity": "capacity_commands",
    **dict.fromkeys(("compare", "history", "judge", "list", "report", "verify"), "saved_run_commands"),
    "doctor": "doctor_command",
    **dict.fromkeys(("down", "ui", "up", "worker"), "stack_commands"),
    **dict.fromkeys(("agent", "init"), "own_service_commands"),
    "drill": "drills",
    "completion": "completion",
    "forecast": "forecast_commands",
    "size": "size_commands",
    "traffic": "traffic_commands",
}  # module of this package that holds each


@contextmanager
def _pipe_reported() -> Iterator[None]:
    """Report a pipe that breaks, where click would end with 1, a failure."""
    try:
        yield
    except BrokenPipeError as error:
        raise UnavailableError("a pipe was closed at its other end before all was written") from error


class Commands(click.Group):
    """Imports a command's module when it is called: no command waits for what another needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing every command for its help."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [*map(CompletionItem, names), *click.Command.shell_complete(self, ctx, incomplete)]

    def make_context(self, *given: Any, **more: Any) -> click.Context:
        """Read the arguments; `--help` and `--version` print here."""
        with _pipe_reported():
            return super().make_context(*given, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _pipe_reported():
            return super().invoke(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        try:
            module = importlib.import_module(f"rushhour.cli.{COMMANDS[cmd_name]}")
        except ModuleNotFoundError as error:
            if not _not_installed():
                raise
            return _needs_the_whole(cmd_name, error)
        commands = (var for var in vars(module).values() if isinstance(var, click.Command))
        return next(command for command in commands if command.name == cmd_name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rushhour")
def cli() -> None:
    """Reproduce connection-pool exhaustion before a release, and say why it happens.

    Exit codes: 0 every scenario met its expectation; 1 at least one did not; 2 none failed but at least one
    is unknown; 64 bad usage or a bad scenario file; 70 a fault of rushhour itself; 130 interrupted.
    """


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(signum).name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command as the console script does, and exit with its code."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a locale of one byte has no sign for some of what is printed
            stream.reconfigure(errors="replace")
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    code = int(_exit_of(arguments))
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    sys.exit(code)


def _open_closed() -> None:
    """Open what the caller closed (`>&-`), as if /dev/null were given: nobody wants that output.

    The next file to be opened would have its number, and commands that are started would write into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < FIRST_FILE:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # Python's own sign of a closed one
            nothing = Path(os.devnull).open("r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115 - to the end
            setattr(sys, name, nothing)


def _let_go(stream: TextIO) -> None:
    """Flush a stream; drop what nobody takes, or Python would flush again and exit with 120."""
    try:
        stream.flush()
    except (OSError, KeyboardInterrupt):  # a reader that does not read keeps a flush waiting
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _exit_of(arguments: Sequence[str] | None) -> int:
    try:
        with _pipe_reported():
            code = int(cli.main(args=arguments, standalone_mode=False) or 0)
            sys.stdout.flush()  # here, for an error to be told like that of any line before it
        return code
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        return _tell("interrupted; what was started has been stopped", Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last resort: everything is reported in words
        code = _failed(error)
        return Exit.INTERRUPTED if _by_interrupt(error) else code


def _by_interrupt(error: BaseException) -> bool:
    """Return whether an error came while an interrupt was dealt with: Ctrl-C ends a pipe's reader too."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        if isinstance(now, KeyboardInterrupt):
            return True
        seen.add(id(now))
        now = now.__cause__ or now.__context__
    return False


def _failed(error: Exception) -> Exit:
    match error:
        case StackError() | UnavailableError() | InsufficientDataError():
            return _tell(error, Exit.UNKNOWN)
        case OSError() | NotWrittenError() if lacking := _lacking(error):
            return _tell(lacking, Exit.UNKNOWN)
        case UsageError() | RunDataError():
            return _tell(error, Exit.USAGE)
        case OSError() | RuntimeError() if wrong := _wrong_path(error):
            return _tell(wrong, Exit.USAGE)
        case ModuleNotFoundError() if _not_installed():
            return _tell(_small_installation(error), Exit.USAGE)
    told = mask_text("".join(traceback.format_exception(error)))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="rushhour-fault-", suffix=".txt", delete=False) as file:
            file.write(told)
        where = f"  traceback in {file.name}"
    except OSError:  # no room for it
        where = told
    words = f"{type(error).__name__}: {error}\n{where}"
    return _tell(f"a fault of rushhour itself, please report it: {words}", Exit.FAULT)


def _lacking(error: OSError | NotWrittenError) -> str:
    """Say what the machine lacks, and what helps; empty for an error that says no such thing."""
    if isinstance(error, NotWrittenError):
        what, cause = str(error), error.__cause__
    else:
        what, cause = f"{error.strerror}: {error.filename or 'a file of the run, or the output'}", error
    number = cause.errno if isinstance(cause, OSError) else None
    return f"{what}; {MACHINE_LACKS[number]}" if number in MACHINE_LACKS else ""


def _wrong_path(error: OSError | RuntimeError) -> str:
    """Say what is wrong with a path that was given; empty for any other error."""
    if isinstance(error, OSError):
        given = error.filename is not None and error.errno in NOT_FOR_US
        return f"{shortened(error.filename)}: {error.strerror}" if given else ""
    return shortened(error) if str(error).startswith("Symlink loop") else ""  # pathlib's, before Python 3.13


def _needs_the_whole(name: str, error: ModuleNotFoundError) -> click.Command:
    """Return what stands for a command whose libraries a small installation leaves out."""

    def refuse() -> None:
        raise UsageError([_small_installation(error)])

    settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    return click.Command(
        name,
        callback=refuse,
        short_help="(needs 'rushhour[run]')",
        context_settings=settings,
    )


def _small_installation(error: ModuleNotFoundError) -> str:
    return f"this needs {error.name}, which the small installation leaves out; {INSTALL_ALL}"


def _not_installed() -> list[str]:
    """Return the distributions of the extra `run` that are not there, by name."""
    try:
        required = metadata.requires("rushhour") or []
    except metadata.PackageNotFoundError:
        return []
    of_the_extra = (text for text in required if text.endswith("extra == 'run'"))
    names = (re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in of_the_extra)
    return [name for name in names if next(iter(metadata.distributions(name=name)), None) is None]


def _tell(what: object, code: Exit) -> Exit:
    with suppress(OSError):  # stderr on a full disk, or closed: the exit code is all that is left
        click.echo(without_commands(clean(mask_text(f"rushhour: {what}"))), err=True)
    return code
