"""Who may use the web UI, and from where it may be reached (pure but for the file and the environment)."""

import hmac
import os
import stat
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

from rushhour.jobs.webui.messages import Login
from rushhour.scenario.hosts import is_loopback

USER: Final = "RUSHHOUR_UI_USER"
PASSWORD: Final = "RUSHHOUR_UI_PASSWORD"  # noqa: S105  # a variable's name
SHORTEST: Final = 8


def read_login(file: Path | None, environment: MutableMapping[str, str]) -> tuple[Login | None, list[str]]:
    """Return the log-in, from `USER:PASSWORD` in a file or from the environment, and what is wrong with it.

    The password is taken out of the environment, so that no child process inherits it.
    """
    user, password = environment.get(USER, ""), environment.pop(PASSWORD, "")
    if file is not None:
        try:
            if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                return None, [f"--login-file {file}: other users may read it; chmod 600 {file}"]
            user, _, password = file.read_text(encoding="utf-8").partition("\n")[0].partition(":")
        except (OSError, UnicodeDecodeError) as error:
            return None, [f"--login-file {file}: {error}"]
    if not user or not password:
        where = f"{file}: write USER:PASSWORD in its first line" if file else f"set {USER} and {PASSWORD}"
        return None, [f"--login: no user and password; {where}"]
    if len(password) < SHORTEST:
        return None, [f"--login: the password has {len(password)} characters; take {SHORTEST} or more"]
    return Login(user, password), []


def address_problems(host: str, allow_host: str | None, *, login: bool) -> list[str]:
    """Problems with the address that the page is bound to: it can start load, so it is not for everybody."""
    if is_loopback(host):
        return []
    found = []
    if host != allow_host:
        found.append(f"--host {host} is reached from other machines; use --allow-host {host} if it shall be")
    if not login:
        found.append(f"--host {host} is reached from other machines, and the page starts load: add --login")
    return found


def matches(login: Login, given: Mapping[str, str]) -> bool:
    """Return whether user and password are these; takes as long whichever of them is wrong."""
    user = hmac.compare_digest(given.get("username", "").encode(), login.user.encode())
    password = hmac.compare_digest(given.get("password", "").encode(), login.password.encode())
    return user & password


def take_login(wanted: bool, file: Path | None) -> tuple[Login | None, list[str]]:
    """Return the log-in that was asked for; none, and nothing wrong, when none was."""
    if not wanted and file is None:
        return None, []
    return read_login(file, os.environ)
