"""Reads JSON that may be damaged or foreign."""

import json
import os
from pathlib import Path
from typing import Any

# What reading, parsing and using the content of a damaged or foreign file may raise.
DAMAGE = (
    *(ArithmeticError, AttributeError, LookupError, OSError),
    *(RecursionError, TypeError, ValueError),
)
MAX_MAGNITUDE = 1e100  # larger numbers are damage, and could overflow when an axis is computed


def read(path: str | os.PathLike) -> Any:
    """The content of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text())
    except DAMAGE:
        return None


def parse(text: str) -> Any:
    """JSON from text, None if it is damaged; NaN and infinities become None."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except DAMAGE:
        return None


def numbers(content: dict[str, Any]) -> dict[str, float | None]:
    """The entries that are numbers or null; NaN and those beyond ``MAX_MAGNITUDE`` become None."""
    return {
        key: value if value is None or abs(value) <= MAX_MAGNITUDE else None
        for key, value in content.items()
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    }


def is_whole(value: Any) -> bool:
    """Whether a value is an integer from 0 on, rather than a float, a boolean or text."""
    return type(value) is int and value >= 0
