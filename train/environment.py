"""What must be set before torch is loaded; so this module imports nothing."""

from __future__ import annotations

import os


def patient_threads() -> None:
    """Let OpenMP's idle threads sleep instead of spinning, unless the user decided otherwise.

    Between two operations a thread waits for the others. Where another program uses the cores too,
    spinning keeps the very thread away that is waited for: a training step on two shared cores
    took 14.5 s spinning and 3.3 s sleeping.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
