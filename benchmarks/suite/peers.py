"""Running a file of benchmarks/peers in the peers' environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .result import Options

FOLDER = Path(__file__).parents[1] / "peers"


def run_peer(options: Options, script: str, *arguments: Any) -> dict[str, Any]:
    """The JSON in the last line that the script prints.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    command = [str(options.peers / "bin" / "python"), str(FOLDER / script), *map(str, arguments)]
    # The script's folder must not hide modules, and its environment knows its own packages alone.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    if run.returncode:
        raise RuntimeError(f"{script} failed:\n{run.stdout[-1000:]}{run.stderr[-2000:]}")
    print(run.stderr[-500:], file=sys.stderr, end="")
    found: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return found
