"""TensorRT's log and progress, made readable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

Progress = Callable[[str, int, int], None]
"""progress(phase, steps done, steps in all)."""

LAYER_TABLE: Final = "Layers:"
"""How the message starts that lists the layers of a finished engine."""


class Record:
    """What TensorRT said during one build.

    Attributes:
        problems: errors, then warnings, each once.
        layers: the table of layers, "" until a build is finished.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.layers: str = ""
        self._file = file
        self._lines: list[str] = []

    def add(self, severity: str, message: str) -> None:
        """One message; severity is the name of TensorRT's."""
        if self._file is not None:
            self._lines.append(f"{severity}: {message}")
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self.errors.append(message)
        elif severity == "WARNING":
            self.warnings.append(message)
        elif message.startswith(LAYER_TABLE):
            self.layers = message

    def save(self) -> None:
        """Write the whole log, where a file was given."""
        if self._file is not None:
            from ..system.files import atomic_write

            with atomic_write(self._file) as temporary:
                temporary.write_text("\n".join(self._lines) + "\n", encoding="utf-8")

    def reason(self) -> str:
        """The first error, without the place in TensorRT's source."""
        return clean(self.errors[0]) if self.errors else "it gave no reason"


def clean(message: str) -> str:
    """A message without file names and line numbers of TensorRT's source."""
    text = message.strip().splitlines()[0] if message.strip() else message
    head, separator, _ = text.partition(" In ")
    if separator and "/_src/" in text:
        return head.rstrip(" (") + ("" if head.count("(") <= head.count(")") else ")")
    return text


_loggers: dict[str, Any] = {}
_lock = threading.Lock()


def logger_of(trt: Any) -> Any:
    """The one logger of a flavour; `logger.record` takes the messages.

    TensorRT keeps the first logger it is given as long as any of its objects lives, so there is
    one for the whole process.
    """
    with _lock:
        if trt.__name__ not in _loggers:

            class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
                """Hands TensorRT's messages to the record of the build that runs."""

                def __init__(self) -> None:
                    trt.ILogger.__init__(self)
                    self.record: Record | None = None

                def log(self, severity: Any, msg: str) -> None:
                    record = self.record
                    if record is not None:
                        record.add(severity.name, msg)

            _loggers[trt.__name__] = Logger()
        return _loggers[trt.__name__]


def monitor_of(trt: Any, progress: Progress) -> Any:
    """A progress monitor that calls `progress` and ends a build at Ctrl-C.

    Attributes:
        interrupted: whether Ctrl-C came; an exception must not pass through TensorRT's C++.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """See `monitor_of`."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._tell(phase_name, self._steps.get(phase_name, 1))

        def _tell(self, phase: str, done: int) -> None:
            try:
                progress(phase, done, self._steps.get(phase, 1))
            except KeyboardInterrupt:
                self.interrupted = True

    return Monitor()
