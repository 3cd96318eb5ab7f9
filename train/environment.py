"""What must be set before torch is loaded; so this module does not import it."""

from __future__ import annotations

import os

_BUSY = 0.5  # programs that want to run, for each CPU


# Turns of GNU OpenMP's waiting loop, a tenth of a millisecond: the next operation follows within
# microseconds, and a thread that another program keeps away does not come sooner for 15 ms of
# spinning, which is what its own default of 300,000 makes.
_SPINS = "2000"


def is_busy() -> bool:
    """Whether other programs use the processors."""
    if not hasattr(os, "getloadavg"):  # Windows
        return False
    return os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1)


def patient_threads() -> None:
    """Bound how long OpenMP's idle threads spin; on a busy machine let them sleep at once.

    Between two operations a thread waits for the others. Where another program uses the cores too,
    spinning keeps the very thread away that is waited for: a training step on two shared cores
    took 14.5 s spinning and 3.3 s sleeping. Alone on the machine spinning is better, 1.1 s against
    1.6 s. The user's own OMP_WAIT_POLICY and GOMP_SPINCOUNT are left as they are.
    """
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        return
    if is_busy():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    else:
        os.environ["GOMP_SPINCOUNT"] = _SPINS
