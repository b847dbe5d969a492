"""Values of another kind where alarm files have a name: each is refused in words, with file and line."""

from pathlib import Path

import pytest

from rushhour.alarms.policies import load_policies
from rushhour.errors import UsageError

STRANGE = ["[prometheus]", "{prometheus: 1}", "7", "null", "true", "[[]]", "2026-11-29"]


@pytest.mark.parametrize("value", STRANGE)
def test_a_system_that_is_no_name_is_refused(value: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"system: {value}\nalarms:\n  a: {{expr: up == 0}}\n")
    with pytest.raises(UsageError, match=r"own\.yaml:1: `system:` .* is none of") as raised:
        load_policies([file])
    assert len(raised.value.problems) == 1
