"""OpenVINO in a process: its signals, and what it would send."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed")

# The two copies of the model end in the order in which they began.
SIGNAL = """
import faulthandler, os, signal
import numpy as np
from yolov4sdk import Detector
from yolov4sdk.backends.base import replicas
faulthandler.enable()
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
first = Detector(backend="openvino", threads=2)
second = Detector(backend="openvino", threads=2)
image = np.zeros((64, 64, 3), np.uint8)
first(image), second(image)
first.close()
del first
second.close()
del second
os.kill(os.getpid(), signal.SIGTERM)
assert heard == [1]
"""
TELEMETRY = """
import sys
from yolov4sdk import Detector
import numpy as np
Detector(backend="openvino")(np.zeros((64, 64, 3), np.uint8))
assert "openvino" in sys.modules and not sys.modules["openvino_telemetry"]
from openvino.tools.ovc import telemetry_utils
assert telemetry_utils.tm.__name__.endswith("telemetry_stub")
"""


@pytest.mark.parametrize("code", [SIGNAL, TELEMETRY], ids=["signal", "telemetry"])
def test_it_leaves_the_process_alone(code: str) -> None:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
