"""An interrupt while the commands are still being loaded."""

import subprocess
import sys

INTERRUPTED_IN = """
import sys
import rushhour.__main__

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupts())
sys.argv = ["rushhour", "list"]
rushhour.__main__.run()
"""


def test_an_interrupt_while_modules_are_loaded_is_said_in_words() -> None:
    for module in ("rushhour.cli", "click", "rushhour.errors", "rushhour.scenario.model"):
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED_IN.format(module=module)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (130, ""), module
        assert done.stderr.startswith("rushhour: interrupted"), module
        assert done.stderr.count("\n") == 1, module
