"""Why a number was not reached, by the name of its target; shown only where it is missed."""

from __future__ import annotations

from typing import Final

REASONS: Final[dict[str, str]] = {}
