"""Terraform's files as blocks: HCL (`*.tf`, `*.tfvars`) and its JSON syntax (`*.tf.json`, `*.tfvars.json`).

Both become what the HCL parser makes of a file: block type -> list of mappings by label.
Source of the JSON syntax: Terraform's documentation, "JSON Configuration Syntax".
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

from rushhour.alarms.formats.documents import listed, loaded_json

MAX_HCL: Final = 500_000  # a grammar in Python reads some ten thousand a second
TOP_LEVEL: Final = frozenset(
    {
        *("resource", "data", "variable", "locals", "module", "provider", "output", "terraform"),
        *("moved", "import", "removed", "check", "ephemeral", "//"),
    }
)
_HOLDS_VALUES: Final = frozenset({"resource", "variable", "locals", "module"})
_BLOCK: Final = re.compile(
    r"^[ \t]*(?:(?:resource|data)\s+\"[^\"\n]+\"\s+\"[^\"\n]+\""
    r"|(?:variable|module|provider|output)\s+\"[^\"\n]+\"|locals|terraform|moved|import)\s*\{",
    re.MULTILINE,
)

Content = Mapping[str, Any]


def is_terraform(path: str, text: str) -> bool:
    """Return whether a file is one of Terraform's, by its name or by its content."""
    name = PurePath(path).name
    if name.endswith((".tf", ".tf.json", ".tfvars", ".tfvars.json")):
        return True
    return _is_json_syntax(text) if text.lstrip()[:1] == "{" else _BLOCK.search(text) is not None


def _is_json_syntax(text: str) -> bool:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(plain, dict) or not plain.keys() <= TOP_LEVEL or not plain.keys() & _HOLDS_VALUES:
        return False
    return all(isinstance(block, Mapping | list) for key, block in plain.items() if key != "//")


def is_variables(path: str) -> bool:
    """Return whether a file sets variables: `terraform.tfvars`, `prod.tfvars.json`."""
    return path.endswith((".tfvars", ".tfvars.json"))


def is_loaded_alone(path: str) -> bool:
    """Return whether Terraform reads a file of variables without `-var-file`."""
    name = PurePath(path).name.removesuffix(".json")
    return name == "terraform.tfvars" or name.endswith(".auto.tfvars")


def overrides(path: str) -> bool:
    """Return whether a file changes the blocks of the others: `override.tf`, `prod_override.tf.json`."""
    stem = PurePath(path).name.removesuffix(".json").removesuffix(".tf")
    return stem == "override" or stem.endswith("_override")


def parsed(path: str, text: str) -> Content | str:
    """Return the blocks of a file, or what is wrong with it, with file and line."""
    if path.endswith(".json") or text.lstrip()[:1] == "{":
        return _of_json(path, text)
    return _of_hcl(path, text)


def _of_hcl(path: str, text: str) -> Content | str:
    if len(text) > MAX_HCL:
        return f"{path}: {len(text):,} characters of HCL; {MAX_HCL:,} are the most; read its plan as JSON"
    import hcl2  # noqa: PLC0415 - it builds its parser on import, and few teams need it
    from hcl2.utils import SerializationOptions  # noqa: PLC0415
    from lark.exceptions import LarkError, UnexpectedInput  # noqa: PLC0415

    options = SerializationOptions(with_comments=False, strip_string_quotes=True)
    try:
        content: Content = hcl2.loads(text, serialization_options=options)
        return content
    except UnexpectedInput as error:
        return f"{path}:{max(1, error.line)}: not HCL: {str(error).splitlines()[0]}"
    except (LarkError, RecursionError, ValueError, TypeError, AttributeError, LookupError) as error:
        return f"{path}:1: cannot be read as HCL: {type(error).__name__}: {error}"


def _of_json(path: str, text: str) -> Content | str:
    try:
        plain = loaded_json(text)
    except json.JSONDecodeError as error:
        return f"{path}:{error.lineno}: not JSON: {error.msg}"
    except (RecursionError, ValueError) as error:  # a number of more digits than Python reads
        deep = isinstance(error, RecursionError)
        return f"{path}:1: {'its lists and objects are nested too deeply' if deep else f'not JSON: {error}'}"
    if not isinstance(plain, Mapping):
        return f"{path}:1: must be an object, as Terraform's JSON syntax has it"
    if is_variables(path):
        return plain
    wrong = [key for key in plain if key not in TOP_LEVEL]
    if wrong:
        return f"{path}:{_line_of(text, wrong[0])}: {wrong[0]!r} is no block of Terraform's"
    return {key: _blocks_of(block) for key, block in plain.items() if key != "//"}


def _blocks_of(block: Any) -> list[Any]:
    return block if isinstance(block, list) else [block]


def labelled(content: Content, word: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the blocks with two labels: type, name and body of each resource.

    In JSON each level of labels may be a list, too.
    """
    for block in listed(content.get(word)):
        for kind, named in _pairs(block):
            for name, body in _pairs(named):
                for part in _blocks_of(body):
                    if isinstance(part, Mapping):
                        yield kind, name, part


def named(content: Content, word: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the blocks with a single label: name and body of each variable."""
    for block in listed(content.get(word)):
        for name, body in _pairs(block):
            for part in _blocks_of(body):
                if isinstance(part, Mapping):
                    yield name, part


def _pairs(block: Any) -> Iterator[tuple[str, Any]]:
    for part in _blocks_of(block):
        if isinstance(part, Mapping):
            for key, value in part.items():
                if not is_comment(key):
                    yield key.strip('"'), value


def is_comment(key: str) -> bool:
    """Return whether a key says nothing of the service: JSON's comments, the parser's own marks."""
    return key == "//" or key.startswith("__")


def line_of(text: str, kind: str, name: str) -> int:
    """Return the line where a resource begins, in either syntax."""
    if text.lstrip()[:1] == "{":
        return _line_of(text, name)
    match = re.search(rf'resource\s+"?{re.escape(kind)}"?\s+"?{re.escape(name)}"?\s*\{{', text)
    return text.count("\n", 0, match.start()) + 1 if match else 1


def _line_of(text: str, key: str) -> int:
    match = re.search(rf"{re.escape(json.dumps(key))}\s*:", text)
    return text.count("\n", 0, match.start()) + 1 if match else 1
