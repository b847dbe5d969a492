"""`python -m tests.faults`: the campaigns, their counts, and exit code 1 if anything went wrong."""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.faults import adverse, inputs, kills, saved

SHORT = {"kills": 5, "runs": 200, "files": 400, "adverse": 1}  # five minutes, for CI


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-faults ARGS=...", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same tries (default: 1)")
    for name, default in SHORT.items():
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"how many (default: {default})"
        )
    parser.add_argument("--stack", default="embedded", choices=["embedded", "compose"], help="where to kill")
    chosen = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="rushhour-faults-") as made:
        folder = Path(made)
        folder.chmod(0o755)  # PostgreSQL runs as another account, and has its directories below it
        for name, campaign, kinds, tries in (
            ("saved", saved.campaign, saved.KINDS, chosen.runs),
            ("inputs", inputs.campaign, inputs.KINDS, chosen.files),
            ("kills", partial(kills.campaign, stack=chosen.stack), kills.KINDS, chosen.kills),
            ("adverse", adverse.campaign, adverse.KINDS, chosen.adverse),
        ):
            if tries:
                (folder / name).mkdir(mode=0o755)
                counts = campaign(chosen.seed, tries, folder / name)
                sys.stdout.write("".join(f"{line}\n" for line in counts.lines(kinds)))
                sys.stdout.flush()
                bad += counts.bad
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
