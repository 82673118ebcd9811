"""Reads JSON that may be damaged or foreign, so that a report never fails because of one file."""

import json
from pathlib import Path
from typing import Any

MAX_MAGNITUDE = 1e100  # larger numbers are damage, and would overflow when an axis is computed


def read(path: Path) -> Any:
    """The content of a file; None if it cannot be read or is not JSON."""
    try:
        return parse(path.read_text())
    except (OSError, ValueError):
        return None


def parse(text: str) -> Any:
    """JSON from text; None if it is damaged. NaN and infinities become None."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def number(value: Any) -> float | None:
    """The value if it is a finite number, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) <= MAX_MAGNITUDE else None


def numbers(content: dict[str, Any]) -> dict[str, float | None]:
    """The entries that are numbers or null; numbers that are not finite become None."""
    return {
        key: number(value)
        for key, value in content.items()
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    }
