"""Texts of flags as values: times, numbers, schedules, sizes; refused in one sentence."""

import math
import re
from fractions import Fraction


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence: what is wrong, what to do."""


def parse_time(text: str | float | None) -> float | None:
    """Seconds from ``"90.5"``, ``"1:30"`` or ``"0:01:30"``; ``None`` from nothing.

    Raises:
      InputError: the text is no time.
    """
    if text is None or text == "":
        return None
    if not re.fullmatch(r"(\d+:)?(\d+:)?\d+(\.\d*)?", str(text).strip()):
        raise InputError(f"{text!r} is no time: give seconds (90.5) or H:MM:SS (0:01:30.5).")
    seconds = 0.0
    for part in str(text).strip().split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def parse_times(text: str) -> tuple[float, ...]:
    """Seconds from ``"90.5,0:02:00"``; none from nothing.

    Raises:
      InputError: one is no time.
    """
    return tuple(parse_time(entry) for entry in parse_list(text) if entry)


def parse_number(text: str | float) -> float:
    """A float from ``"0.5"``, ``"1e-3"`` or a fraction such as ``"1/72"``.

    Raises:
      InputError: the text is no finite number.
    """
    try:
        number = float(Fraction(text)) if isinstance(text, str) else float(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{text!r} is no number: give one such as 0.5, 1e-3 or 1/72.")
    return number


def parse_schedule(text: str) -> tuple[float, ...]:
    """The noise schedule from ``"0.25,0.1,0.05"``: one number an epoch.

    Raises:
      InputError: an entry is no number.
    """
    try:
        return tuple(parse_number(entry.strip()) for entry in text.split(","))
    except InputError as error:
        raise InputError(
            f"--noise_schedule={text} has an entry that is no number: "
            "give one standard deviation an epoch, such as 0.25,0.1,0.05."
        ) from error


def parse_rate(text: str) -> Fraction | None:
    """Frames a second, exact, from ``"24"`` or ``"24000/1001"``; ``None`` from nothing.

    Raises:
      InputError: the text is no positive number.
    """
    if not text:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise InputError(f"{text!r} is no frame rate: give one such as 24 or 24000/1001.")
    return rate


def parse_stretches(text: str) -> tuple[tuple[float, float | None], ...]:
    """Stretches of a film from ``"0:00-1:30,1:52:00-end"``: pairs of seconds, the end ``None``.

    Raises:
      InputError: one is no stretch, or ends before it starts.
    """
    stretches = []
    for entry in filter(None, parse_list(text)):
        start, _, end = entry.partition("-")
        stretch = parse_time(start), None if end == "end" else parse_time(end)
        if not (start and end) or (stretch[1] is not None and stretch[1] <= stretch[0]):
            raise InputError(f"{entry!r} is no stretch: give start-end such as 0:00-1:30.")
        stretches.append(stretch)
    return tuple(stretches)


def parse_size(text: str) -> tuple[int, int] | None:
    """Width and height in pixels from ``"1280x720"``; ``None`` from nothing.

    Raises:
      InputError: the text is no size.
    """
    if not text:
        return None
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", text):
        raise InputError(f"{text!r} is no size: give WxH such as 1280x720.")
    width, height = text.split("x")
    return int(width), int(height)


def parse_whole(text: str) -> int | None:
    """A whole number from its digits, ``None`` from nothing.

    Raises:
      InputError: the text is no whole number.
    """
    if not text:
        return None
    if not text.isdigit():
        raise InputError(f"{text!r} is no whole number: give one such as 0 or 18.")
    return int(text)


def parse_list(text: str) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(entry.strip() for entry in text.split(","))


def check_crop(crop: str) -> None:
    """Raises ``InputError`` unless ``--crop`` is W:H, W:H:X:Y, auto or none."""
    if not re.fullmatch(
        r"auto|none|[1-9][0-9]{0,5}:[1-9][0-9]{0,5}(:[0-9]{1,6}:[0-9]{1,6})?", crop
    ):
        raise InputError(
            f"--crop={crop} is no shape: give W:H such as 16:9, W:H:X:Y, auto or none."
        )
