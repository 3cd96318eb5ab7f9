"""Log lines: JSON for machines, or text."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import orjson

from .middleware import request_id
from .settings import Settings


class JsonLines(logging.Formatter):
    """One JSON object a line; a record's `fields` become members."""

    def format(self, record: logging.LogRecord) -> str:
        """Encode."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if number := request_id.get():
            line["request_id"] = number
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(settings: Settings) -> None:
    """Send the service's and the server's lines to stderr; the server's access lines are ours."""
    handler = logging.StreamHandler(sys.stderr)
    form = settings.log_format
    if form == "json" or (form == "auto" and not sys.stderr.isatty()):
        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    for name in ("yolov4sdk", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(settings.log_level.upper())
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
    logging.getLogger("uvicorn.access").disabled = True
