"""Parses the texts of flags: times, numbers, schedules, sizes. Quotes texts for a line.

Every parser raises ``ValueError`` with the end of a sentence that begins with the flag, such as
"is not a time: give seconds (90.5) or H:MM:SS (0:01:30.5)".
"""

import json
import math
import re
from fractions import Fraction
from typing import NamedTuple

import numpy as np

WHOLE_NUMBER = r"-?[0-9]{1,18}"
MAX_SECONDS = 1e12  # of a time
# Characters that no line of UTF-8 text can hold: controls, line breaks, bytes that are not UTF-8.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class InputError(ValueError):
    """The user's input cannot be used; the message is one sentence: problem, reason, remedy."""


def quote(text: str) -> str:
    """A text that fits into a line of a flagfile: itself, or as a JSON string if it does not fit.

    ``unquote`` is the inverse for every text that the operating system can pass to a program.
    """
    fits = not UNPRINTABLE.search(text) and text == text.strip() and unquote(text) == text
    return text if fits else json.dumps(text)


def unquote(text: str) -> str:
    """The text that ``quote`` made this from; any other text unchanged."""
    if not text.startswith('"'):
        return text
    try:
        original = json.loads(text)
    except ValueError:
        return text
    return original if quote(original) == text else text


def printable(text: str) -> str:
    """A text for people: escapes every character that does not fit into a line."""
    return UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def parse_time(text: str) -> float:
    """Seconds, from ``"90.5"``, ``"1:30"`` or ``"0:01:30"``."""
    if not re.fullmatch(r"([0-9]{1,9}:){0,2}[0-9]{1,13}(\.[0-9]*)?", text):
        raise ValueError("is not a time: give seconds (90.5) or H:MM:SS (0:01:30.5)")
    seconds, *rest = map(float, text.split(":"))
    for part in rest:
        if part >= 60:
            raise ValueError("is not a time: give less than 60 after a colon")
        seconds = 60 * seconds + part
    if seconds > MAX_SECONDS:
        raise ValueError(f"is too late: give at most {MAX_SECONDS:.0f} seconds")
    return seconds


def show_time(seconds: float) -> str:
    """The inverse of ``parse_time``: the shortest exact decimal number."""
    return np.format_float_positional(seconds, trim="-")


def parse_times(text: str) -> tuple[float, ...]:
    """Seconds, from ``"90.5,0:02:00"``."""
    return tuple(map(parse_time, parse_words(text)))


def parse_ranges(text: str) -> tuple[tuple[float, float | None], ...]:
    """Time ranges in seconds, from ``"0:00-1:30,1:52:00-end"``; the film's end is ``None``."""
    ranges = []
    for entry in parse_words(text):
        first, _, last = entry.partition("-")
        try:
            start, end = parse_time(first), None if last == "end" else parse_time(last)
        except ValueError:
            start, end = 0.0, 0.0
        if end is not None and end <= start:
            raise ValueError(
                f"has the entry {entry!r}, which is not a time range: give ranges that end after "
                "their start, such as 0:00-1:30"
            )
        ranges.append((start, end))
    return tuple(ranges)


def show_ranges(ranges: tuple[tuple[float, float | None], ...]) -> str:
    """The inverse of ``parse_ranges``."""
    return ",".join(
        f"{show_time(start)}-{'end' if end is None else show_time(end)}" for start, end in ranges
    )


class HoldOut(NamedTuple):
    """Frames to hold out: the last ``length`` of every ``period``, in ``unit`` "s" or "shots"."""

    length: float
    period: float
    unit: str


def parse_hold_out(text: str) -> HoldOut:
    """Which frames are held out, from ``"10s/60s"`` or ``"shots/5"``; up to microseconds."""
    seconds = r"([0-9]{1,9}(?:\.[0-9]{1,6})?)s"
    form = "give 10s/60s for the last ten seconds of each minute, or shots/5 for every fifth shot"
    if found := re.fullmatch(r"shots/([0-9]{1,9})", text):
        hold_out = HoldOut(1, int(found[1]), "shots")
    elif found := re.fullmatch(f"{seconds}/{seconds}", text):
        hold_out = HoldOut(float(found[1]), float(found[2]), "s")
    else:
        raise ValueError(f"is not a hold-out: {form}")
    if not hold_out.length:
        raise ValueError(f"holds out nothing: {form}")
    if hold_out.length >= hold_out.period:
        raise ValueError("leaves nothing to learn: give a longer period, as in 10s/60s or shots/5")
    return hold_out


def show_hold_out(hold_out: HoldOut) -> str:
    """The inverse of ``parse_hold_out``."""
    if hold_out.unit == "shots":
        return f"shots/{hold_out.period}"
    return f"{show_time(hold_out.length)}s/{show_time(hold_out.period)}s"


def parse_number(text: str) -> float:
    """A finite float, from ``"0.5"``, ``"1e-3"`` or a fraction such as ``"1/72"``."""
    try:
        numerator, *denominators = map(float, text.split("/", 1))
        number = numerator / (denominators[0] if denominators else 1.0)
        is_number = "_" not in text and all(map(math.isfinite, (number, *denominators)))
    except (ValueError, ZeroDivisionError):
        is_number = False
    if not is_number:
        raise ValueError("is not a number: give one such as 0.5, 1e-3 or 1/72")
    return number


def parse_numbers(text: str) -> tuple[float, ...]:
    """Floats, from ``"0.25,0.1,0.05"``; an empty entry is an error."""
    try:
        return tuple(parse_number(entry.strip()) for entry in text.split(","))
    except ValueError:
        raise ValueError(
            "has an entry that is not a number: give numbers such as 0.25,0.1,0.05"
        ) from None


def parse_rate(text: str) -> Fraction:
    """Frames per second, exact, from ``"24"``, ``"23.976"`` or ``"24000/1001"``."""
    decimal, ratio = r"[0-9]{1,9}(\.[0-9]{1,9})?", r"[0-9]{1,18}/0*[1-9][0-9]{0,17}"
    if not re.fullmatch(f"{decimal}|{ratio}", text) or not Fraction(text):
        raise ValueError("is not a frame rate: give one such as 24 or 24000/1001")
    return Fraction(text)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height in pixels, from ``"1280x720"``."""
    if not re.fullmatch(r"[1-9][0-9]{0,5}x[1-9][0-9]{0,5}", text):
        raise ValueError("is not a size: give WxH such as 1280x720")
    width, height = text.split("x")
    return int(width), int(height)


def parse_whole(text: str) -> int:
    """An integer, from its decimal digits."""
    if re.fullmatch("-?[0-9]{19,}", text):
        raise ValueError("has too many digits: give at most 18")
    if not re.fullmatch(WHOLE_NUMBER, text):
        raise ValueError("is not a whole number: give one such as 0 or 18")
    return int(text)


def parse_bool(text: str) -> bool:
    """``"true"`` or ``"false"``."""
    if text not in ("true", "false"):
        raise ValueError("is neither true nor false: give one of them")
    return text == "true"


def parse_words(text: str) -> tuple[str, ...]:
    """Comma-separated words, without empty ones."""
    return tuple(filter(None, (word.strip() for word in text.split(","))))


def check_crop(crop: str) -> None:
    """Raises ``InputError`` unless ``--crop`` is W:H, W:H:X:Y, auto or none."""
    if not re.fullmatch(
        r"auto|none|[1-9][0-9]{0,5}:[1-9][0-9]{0,5}(:[0-9]{1,6}:[0-9]{1,6})?", crop
    ):
        raise InputError(
            f"--crop={crop} is not a shape: give W:H such as 16:9, W:H:X:Y, auto or none."
        )
