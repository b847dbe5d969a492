"""Masks secrets in what is written or shown (pure): passwords in URLs, values whose name says what they are.

A secret that neither stands in a URL nor has such a name is not recognised; docs/security.md says so.
"""

import re
from collections.abc import Mapping
from typing import Final

MASK: Final = "***"

_WORDS: Final = (
    r"(?:passw(?:or)?d|passphrase|passcode|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|signing[_-]?key"
    r"|encryption[_-]?key|account[_-]?key|credential|authorization)"
)
# A whole part of a name, as KEY of SIGNING_KEY, and PWD of DB_PWD; PWD alone is the working directory.
_PARTS: Final = frozenset({"KEY", "KEYS", "PASS", "AUTH", "SALT", "DSN", "COOKIE", "PAT", "PASSWD"})
_HARMLESS: Final = frozenset({"PUBLIC_KEY", "PRIMARY_KEY", "FOREIGN_KEY"})
_SECRET_NAME: Final = re.compile(_WORDS, re.IGNORECASE)
# The user may be missing (redis://:password@host), and a password may hold an @: the last one ends it. A
# password with a slash, as SQLAlchemy takes it, does not begin as a port does.
_IN_URL: Final = re.compile(
    r"(?<=://)([^\s/?#\"'<>@:\\]{0,256}):"
    r"(?:[^\s\"'<>/\\]{1,1024}|(?!\{|\d{1,5}/)[^\s\"'<>\\]{1,1024})@"
)
_QUOTE: Final = r"(?:\\{0,2}[\"'])?"
_SCHEME: Final = r"(?:(?:bearer|basic|digest|token|negotiate|apikey|aws4-hmac-sha256)\s+)?"
# `password=x`, `secretKey: x`, `"api_key": "x y"`, `Authorization: Bearer x`; not within base64. What begins
# with a quote ends with the same one.
_ASSIGNED: Final = re.compile(
    rf"((?<![A-Za-z0-9+/_-])[A-Za-z0-9_-]{{0,80}}{_WORDS}(?-i:[A-Z][a-z0-9][A-Za-z0-9]{{0,40}})?"
    rf"(?:[_-][A-Za-z0-9]{{1,40}}){{0,6}}{_QUOTE}\s{{0,3}}(?:=>|=|:)\s{{0,3}})"
    rf"(?:(?P<quote>\\{{0,2}}[\"'])(?P<scheme>{_SCHEME})(?!\{{|(?P=quote))(?:\\.|[^\\\n]){{1,8192}}?(?P=quote)"
    rf"|(?P<bare>{_QUOTE}{_SCHEME})(?!\{{)[^\s\"'&;,<>(){{}}\\]+)",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"(\bbearer\s+)([A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)
_COOKIES: Final = re.compile(
    rf"((?<![A-Za-z0-9_-])(?:set-)?cookie{_QUOTE}\s{{0,3}}:\s{{0,3}}{_QUOTE})([^\s\"'<>\\][^\"'<>\\\n]*)",
    re.IGNORECASE,
)
_QUOTED: Final = r"(?P<quote>\\{0,2}[\"'])(?!\{|(?P=quote))(?:\\.|[^\\\n]){1,8192}?(?P=quote)"
_USER: Final = re.compile(
    r"((?<!\S)(?:-u|--user)[\s=]+(?:[^\s:\"'/]{1,80}:|(?P<around>[\"'])[^:\"'/\n]{1,80}:))"
    rf"(?:(?(around)[^\"'\n]+|(?:{_QUOTED}|[^\s\"']+)))"
)
# KEY=VALUE is how our own messages write a pair.
_VARIABLE: Final = re.compile(
    rf"\b([A-Z][A-Z0-9_]{{1,80}}=)(?:{_QUOTED}|(?P<open>[\"']?)(?!\{{|VALUE\b)[^\s\"'&;,<>(){{}}\\]+)"
)
_PWD: Final = re.compile(
    rf"((?<![A-Za-z0-9_])pwd=)(?![\"']?[/{{.~])(?:{_QUOTED}|[^\s\"'&;,]+)", re.IGNORECASE
)
_OPTION: Final = re.compile(
    rf"(--?(?:[A-Za-z0-9]{{1,40}}[_-]){{0,6}}{_WORDS}(?:[_-][A-Za-z0-9]{{1,40}}){{0,6}}\s+)"
    rf"(?:{_QUOTED}|(?![-{{])[^\s\"'&;\\]+)",
    re.IGNORECASE,
)
_PLACEHOLDER: Final = re.compile(r"\{\w+\}")


def is_secret_name(name: str) -> bool:
    """Whether a variable's name says that its value is a secret: DB_PASSWORD, apiKey, SENTRY_DSN, pgpass."""
    upper = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper().replace("-", "_").replace(".", "_")
    if upper in _HARMLESS or upper.endswith("_PUBLIC_KEY"):
        return False
    if _SECRET_NAME.search(upper):
        return True
    parts = set(upper.split("_"))
    return bool(parts & _PARTS) or ("PWD" in parts and upper not in ("PWD", "OLDPWD")) or upper == "PGPASS"


def mask_urls(text: str) -> str:
    """Return text whose URLs keep their user and lose their password."""
    return _IN_URL.sub(rf"\1:{MASK}@", text) if "://" in text and "@" in text else text


def mask_text(text: str) -> str:
    """Return text without passwords in URLs and headers, nor values after `password=`, `--token` and such."""
    text = mask_urls(text)
    text = _ASSIGNED.sub(_masked_assignment, _COOKIES.sub(rf"\1{MASK}", text))
    text = _BEARER.sub(rf"\1{MASK}", text)
    for pattern in (_OPTION, _USER, _PWD):
        text = pattern.sub(_masked_value, text)
    return _masked_variables(text)


def _masked_assignment(found: re.Match[str]) -> str:
    quote = found["quote"]
    if quote is None:
        return f"{found[1]}{found['bare']}{MASK}"
    return f"{found[1]}{quote}{found['scheme']}{MASK}{quote}"


def _masked_value(found: re.Match[str]) -> str:
    quote = found["quote"] or ""
    return f"{found[1]}{quote}{MASK}{quote}"


def _masked_variables(text: str) -> str:
    return _VARIABLE.sub(_masked_variable, text) if "=" in text else text


def _masked_variable(found: re.Match[str]) -> str:
    if is_secret_name(found[1].removesuffix("=")):
        return _masked_value(found) if found["quote"] else f"{found[1]}{found['open']}{MASK}"
    if found["quote"]:
        return found[1] + _masked_variables(found[0].removeprefix(found[1]))  # `CMD="API_SALT=x app"`
    return found[0]


def mask_value(name: str, value: str) -> str:
    """Mask a variable's value. Placeholders stay: they say what is filled in, not with what."""
    if not is_secret_name(name):
        return mask_text(value)
    kept = "".join(_PLACEHOLDER.findall(value))
    return value if kept == value else MASK + kept


def mask_environment(variables: Mapping[str, object]) -> dict[str, object]:
    """Mask the variables of a program."""
    return {
        name: mask_value(name, value) if isinstance(value, str) else value
        for name, value in variables.items()
    }
