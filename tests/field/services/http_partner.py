"""Starts the partner's process; `URL` is where it answers."""

import subprocess
import sys
from pathlib import Path

_process = subprocess.Popen(
    [sys.executable, str(Path(__file__).with_name("partner_server.py"))],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
)
URL = f"http://127.0.0.1:{_process.stdout.readline().strip()}"
