"""Reads JSON that may be damaged or foreign, so that one file never ends a report."""

import json
from typing import Any

MAX_MAGNITUDE = 1e100  # larger numbers are damage, and could overflow when an axis is computed


def parse(text: str) -> Any:
    """JSON from text, None if it is damaged; NaN and infinities become None."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def numbers(content: dict[str, Any]) -> dict[str, float | None]:
    """The entries that are numbers or null; numbers that are not finite become None."""
    return {
        key: value if value is None or abs(value) <= MAX_MAGNITUDE else None
        for key, value in content.items()
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    }
