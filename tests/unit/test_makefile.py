"""A target that lost its rule does nothing, and succeeds."""

import re
from pathlib import Path

MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")


def test_every_phony_target_has_a_rule_and_every_rule_but_venvs_a_recipe() -> None:
    phony = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[0].split()
    rules = re.findall(r"^([a-z-]+):.*\n(\t?)", MAKEFILE, re.M)
    assert sorted(name for name, _ in rules) == sorted(phony)
    assert [name for name, tab in rules if not tab] == ["venv"]


def test_targets_do_what_their_names_say() -> None:
    for name, does in (
        ("loadtest", "run loadtest"),
        ("nightly", "nightly"),
        ("test", "TOGETHER"),
        ("ui", "ui"),
    ):
        recipe = re.findall(rf"^{name}:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)[0]
        assert does in recipe
