"""What must be set before torch is loaded; so this module does not import it."""

from __future__ import annotations

import os

_BUSY = 0.5  # programs that want to run, for each CPU


def patient_threads() -> None:
    """On a busy machine, let OpenMP's idle threads sleep instead of spinning.

    Between two operations a thread waits for the others. Where another program uses the cores too,
    spinning keeps the very thread away that is waited for: a training step on two shared cores
    took 14.5 s spinning and 3.3 s sleeping. Alone on the machine spinning is better, 1.1 s against
    1.6 s. The user's own OMP_WAIT_POLICY is left as it is.
    """
    if not hasattr(os, "getloadavg"):  # Windows
        return
    if os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
