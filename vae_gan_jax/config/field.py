"""One setting as a dataclass field: default, help text, limits, and its form as a flag."""

import dataclasses
import math
import operator
import os
from collections.abc import Callable
from typing import Any

from vae_gan_jax.config import flag_text
from vae_gan_jax.config.flag_text import InputError

MAX_FLOAT32 = 3.4e38  # larger numbers become infinite in the networks' arithmetic
MAX_MAGNITUDE = 1e100  # of numbers from Python and JSON; their squares are finite
MAX_WHOLE = 10**18  # of whole numbers from Python
PARSERS = {
    bool: flag_text.parse_bool,
    int: flag_text.parse_whole,
    float: flag_text.parse_number,
    str: str,
}


def setting(
    group: str,
    default: Any,
    help: str,
    *,
    fixed: bool = False,
    choices: tuple[str, ...] = (),
    parse: Callable[[str], Any] | None = None,
    show: Callable[[Any], str] | None = None,
    **limits: float,
):
    """A field of ``Config``.

    Args:
      group: the heading under which ``--help`` lists the flag.
      default: the default value; ``None`` and ``()`` are the empty text.
      help: the help text of the flag.
      fixed: whether the setting belongs to the trained model and cannot change within a run.
      choices: the allowed values, or the allowed items of a tuple.
      parse: converts the flag's text to the value; default: by the field's type.
      show: the inverse of ``parse``; default: ``str``.
      limits: ``minimum``, ``maximum``, ``above`` or ``below`` of a number, or of a tuple's items.
    """
    metadata = {"group": group, "help": help, "fixed": fixed, "choices": choices}
    metadata |= {"parse": parse, "show": show, "limits": limits}
    return dataclasses.field(default=default, metadata=metadata)


def check(field: dataclasses.Field, value: Any) -> None:
    """Raises ``InputError`` if a value is not a choice, or outside the limits of its field."""
    limits, choices = field.metadata["limits"], field.metadata["choices"]
    flag = f"--{field.name}={value}"
    if choices and value not in choices:
        raise InputError(f"{flag} is not one of {', '.join(choices)}: give one of them.")
    if isinstance(value, float) and abs(value) > MAX_FLOAT32:
        raise InputError(f"{flag} is too large: give a number up to {MAX_FLOAT32}.")
    if not limits or value is None:
        return
    if "minimum" in limits and value < limits["minimum"]:
        raise InputError(f"{flag} is too small: give {limits['minimum']} or more.")
    if "above" in limits and value <= limits["above"]:
        raise InputError(f"{flag} is too small: give more than {limits['above']}.")
    if "maximum" in limits and value > limits["maximum"]:
        raise InputError(f"{flag} is too large: give {limits['maximum']} or less.")
    if "below" in limits and value >= limits["below"]:
        raise InputError(f"{flag} is too large: give less than {limits['below']}.")


def to_text(field: dataclasses.Field, value: Any) -> str:
    """The text of a setting's flag; ``from_text`` reads it back exactly."""
    if value is None:
        return ""
    if field.metadata["show"]:
        return field.metadata["show"](value)
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return flag_text.quote(text.lower() if isinstance(value, bool) else text)


def from_text(field: dataclasses.Field, text: str) -> Any:
    """The value of a setting from the text of its flag.

    Raises InputError if the text is not a value of this setting.
    """
    if text == "" and field.default in (None, ()):
        return field.default
    parse = field.metadata["parse"] or PARSERS[field.type]
    try:
        return parse(_without_nul(flag_text.unquote(text)))
    except ValueError as error:
        raise InputError(f"--{field.name}={text} {error}.") from None


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL character: give a text without it")
    return text


def shown(value: Any) -> str:
    """The start of a value for a message."""
    try:
        return f"{value!r:.40}"
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "(thousands of digits)"


def whole(name: str, value: Any, minimum: int = 0, maximum: int = MAX_WHOLE) -> int:
    """A whole number from Python; raises InputError if it is another value, or out of range."""
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name}={shown(value)} is not a whole number: give one.") from None
    if not minimum <= number <= maximum:
        limits = f"{minimum} to {maximum}"
        raise InputError(f"{name}={shown(number)} is out of range: give {limits}.")
    return number


def finite(name: str, value: Any, limit: float = MAX_MAGNITUDE) -> float:
    """A finite number from Python or JSON; raises InputError if it is another value."""
    try:
        number = math.nan if isinstance(value, str | bytes | bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= limit:
        raise InputError(f"{name}={shown(value)} is not a finite number up to {limit:g}: give one.")
    return number


def path(name: str, value: Any) -> str:
    """A path from Python; raises InputError if it is another value."""
    try:
        return _without_nul(os.fsdecode(value))
    except (TypeError, ValueError):
        raise InputError(f"{name}={shown(value)} is not a path: give one.") from None


def from_python_value(field: dataclasses.Field, value: Any) -> Any:
    """The value of a setting from a Python value: its flag's text, or a number, path or list.

    Raises InputError if the setting cannot have this value.
    """
    value = value.tolist() if hasattr(value, "tolist") else value  # of NumPy
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    value = tuple(value) if isinstance(value, list) else value
    try:
        text = value if isinstance(value, str) else to_text(field, value)
        return from_text(field, text)
    except InputError:
        raise
    except (TypeError, AttributeError, ValueError, OverflowError):
        raise InputError(
            f"--{field.name}={shown(value)} is not a value of this setting: give one as in --help."
        ) from None
