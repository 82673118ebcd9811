"""Values of a parameter over time: constants, keyframes, waves, and the level of a sound.

Every curve is a pure function of times in seconds. ``parse`` reads one from plain values as YAML
and JSON have them, and ``Curve.plain`` is its inverse.
"""

import dataclasses
import difflib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from vae_gan_jax.config import flag_text
from vae_gan_jax.film.sound import FEATURES, SoundFeatures

SAME_TIME_SECONDS = 1e-6  # a frame this close before a key shows the key's value
OVERSHOOT = 1.70158  # 10% beyond the value: Penner's "back" easing
MAX_SECONDS = 1e6  # of a time or a period
EASINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda share: share,
    "smooth": lambda share: share * share * (3 - 2 * share),
    "hold": np.floor,
    "overshoot": lambda share: (
        1 + (OVERSHOOT + 1) * (share - 1) ** 3 + OVERSHOOT * (share - 1) ** 2
    ),
}


class CurveError(ValueError):
    """A value is not a curve; ``path`` leads to the part that is wrong, such as ``("keys", 2)``."""

    def __init__(self, message: str, *path: str | int):
        super().__init__(message)
        self.path = path


class Curve(Protocol):
    """Values of a parameter over time."""

    def values(self, times_T: np.ndarray, sound: SoundFeatures | None = None) -> np.ndarray:
        """The values at times in seconds: float32 ``[T]``. Without a sound there is silence."""
        ...

    def extent(self) -> Sequence[float]:
        """The numbers in the curve that the parameter's range limits."""
        ...

    def plain(self) -> Any:
        """The curve as ``parse`` reads it."""
        ...


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same value at all times."""

    value: float

    def values(self, times_T, sound=None):
        return np.full(len(times_T), self.value, np.float32)

    def extent(self):
        return (self.value,)

    def plain(self):
        return short_number(self.value)


@dataclasses.dataclass(frozen=True)
class Keyframes:
    """Keys ``(seconds, value, easing into it)`` in order of time, repeated every ``loop`` seconds.

    The first value holds before the first key and the last one after the last.
    """

    keys: tuple[tuple[float, float, str], ...]
    loop: float | None = None

    def values(self, times_T, sound=None):
        times_T = np.asarray(times_T, np.float64)
        if self.loop:
            times_T = times_T % self.loop
            times_T = np.where(self.loop - times_T < SAME_TIME_SECONDS, 0.0, times_T)
        seconds_K, value_K = (np.array(column) for column in list(zip(*self.keys, strict=True))[:2])
        after_T = np.searchsorted(seconds_K, times_T + SAME_TIME_SECONDS, side="right")
        before_T = np.maximum(after_T - 1, 0)
        after_T = np.minimum(after_T, len(self.keys) - 1)
        length_T = np.maximum(seconds_K[after_T] - seconds_K[before_T], SAME_TIME_SECONDS)
        share_T = np.clip((times_T - seconds_K[before_T]) / length_T, 0, 1)
        for number, (_, _, easing) in enumerate(self.keys):
            on_leg_T = after_T == number
            share_T[on_leg_T] = EASINGS[easing](share_T[on_leg_T])
        value_T = (1 - share_T) * value_K[before_T] + share_T * value_K[after_T]
        return value_T.astype(np.float32)

    def extent(self):
        return [value for _, value, _ in self.keys]

    def plain(self):
        keys = [
            [short_number(seconds), short_number(value), *([easing] if easing != "linear" else [])]
            for seconds, value, easing in self.keys
        ]
        return {"keys": keys} | ({"loop": short_number(self.loop)} if self.loop else {})


@dataclasses.dataclass(frozen=True)
class Wave:
    """A sine between two values; it is at ``low`` at time 0 and ``phase`` turns further on."""

    period: float  # seconds
    low: float
    high: float
    phase: float = 0.0  # turns

    def values(self, times_T, sound=None):
        turn_T = np.asarray(times_T, np.float64) / self.period + self.phase
        share_T = 0.5 - 0.5 * np.cos(2 * math.pi * turn_T)
        return ((1 - share_T) * self.low + share_T * self.high).astype(np.float32)

    def extent(self):
        return self.low, self.high

    def plain(self):
        ends = {"from": short_number(self.low), "to": short_number(self.high)}
        phase = {"phase": short_number(self.phase)} if self.phase else {}
        return {"wave": short_number(self.period)} | ends | phase


@dataclasses.dataclass(frozen=True)
class Sound:
    """The level of a sound, from ``low`` in silence to ``high`` at its loudest.

    The level falls from 1 to 0 in ``decay`` seconds at the fastest; then it is averaged over
    ``smooth`` seconds.
    """

    feature: str  # of FEATURES
    low: float
    high: float
    smooth: float = 0.0  # seconds
    decay: float = 0.0  # seconds

    def values(self, times_T, sound=None):
        share_T = np.zeros(len(times_T))
        if sound is not None:
            share_T = sound.at(times_T, self.feature, self.smooth, self.decay)
        return ((1 - share_T) * self.low + share_T * self.high).astype(np.float32)

    def extent(self):
        return self.low, self.high

    def plain(self):
        ends = {"from": short_number(self.low), "to": short_number(self.high)}
        extra = {"smooth": short_number(self.smooth), "decay": short_number(self.decay)}
        return {"sound": self.feature} | ends | {key: extra[key] for key in extra if extra[key]}


def parse(value: Any, low: float = -math.inf, high: float = math.inf) -> Curve:
    """The curve of a plain value, with numbers from ``low`` to ``high``.

    The value is a number, ``{keys: [[seconds, value, easing], ...], loop: seconds}``,
    ``{wave: seconds, from: low, to: high, phase: turns}`` or
    ``{sound: feature, from: low, to: high, smooth: seconds, decay: seconds}``. Raises CurveError if
    it is not one of these.
    """
    if not isinstance(value, Mapping):
        return Constant(to_number(value, (), low, high))
    kind = next((kind for kind in _PARSERS if kind in value), None)
    if kind is None:
        raise CurveError(f"is not a curve: give a number, or one of {', '.join(_PARSERS)}")
    allowed, parse_kind = _PARSERS[kind]
    for key in value:
        if key not in (kind, *allowed):
            raise CurveError(
                f"has {key}, which does not go with {kind}: {near(key, (kind, *allowed))}", key
            )
    return parse_kind(value, low, high)


def near(name: Any, names: Collection[str]) -> str:
    """Advice to give one of the names nearest to this one, or any if none is near."""
    close = difflib.get_close_matches(str(name), list(names), n=3, cutoff=0.5)
    return f"give {' or '.join(close or sorted(names)) or 'none'}"


def short_number(value: float) -> float | int:
    """A number without a fraction as an integer, for writing."""
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def to_seconds(value: Any, path: tuple) -> float:
    """Seconds of a plain value: a number, or a text such as ``0:01:30``; else CurveError."""
    try:
        value = flag_text.parse_time(value) if isinstance(value, str) else value
    except ValueError as error:
        raise CurveError(f"has {value}, which {error}", *path) from None
    return to_number(value, path, 0, MAX_SECONDS)


def to_number(value: Any, path: tuple, low: float, high: float) -> float:
    """A finite number in a range; else CurveError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CurveError(f"has {value!r:.40}, which is not a number: give one", *path)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise CurveError(f"has {value!s:.40}, which is not finite: give a finite number", *path)
    if not low <= number <= high:
        limits = f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
        raise CurveError(f"has {number:g}, outside its range: give {limits}", *path)
    return number


def _keyframes(value: Mapping, low: float, high: float) -> Keyframes:
    entries, loop = value["keys"], None
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise CurveError("has no keys: give a list such as [[0, 0], [2, 1, smooth]]", "keys")
    if "loop" in value:
        loop = to_number(value["loop"], ("loop",), SAME_TIME_SECONDS, MAX_SECONDS)
    keys = []
    for number, entry in enumerate(entries):
        path = "keys", number
        if not isinstance(entry, Sequence) or isinstance(entry, str) or len(entry) not in (2, 3):
            raise CurveError("has a key that is not [seconds, value] or with an easing", *path)
        seconds, easing = to_seconds(entry[0], path), entry[2] if len(entry) == 3 else "linear"
        if not isinstance(easing, str) or easing not in EASINGS:
            raise CurveError(f"has the unknown easing {easing}: {near(easing, EASINGS)}", *path)
        if keys and seconds <= keys[-1][0]:
            raise CurveError(
                f"has a key at {seconds:g} s after the one at {keys[-1][0]:g} s: give the keys in "
                "order of time, and hold for a jump",
                *path,
            )
        if loop is not None and seconds > loop:
            raise CurveError(
                f"has a key at {seconds:g} s after its loop of {loop:g} s: give a longer loop",
                *path,
            )
        keys.append((seconds, to_number(entry[1], path, low, high), easing))
    return Keyframes(tuple(keys), loop)


def _wave(value: Mapping, low: float, high: float) -> Wave:
    period = to_number(value["wave"], ("wave",), 1e-3, MAX_SECONDS)
    phase = to_number(value.get("phase", 0), ("phase",), -MAX_SECONDS, MAX_SECONDS)
    return Wave(period, *_ends(value, low, high), phase)


def _sound(value: Mapping, low: float, high: float) -> Sound:
    feature = value["sound"]
    if not isinstance(feature, str) or feature not in FEATURES:
        raise CurveError(f"has the unknown sound {feature}: {near(feature, FEATURES)}", "sound")
    seconds = (to_number(value.get(name, 0), (name,), 0, 60) for name in ("smooth", "decay"))
    return Sound(feature, *_ends(value, low, high), *seconds)


_PARSERS = {
    "keys": (("loop",), _keyframes),
    "wave": (("from", "to", "phase"), _wave),
    "sound": (("from", "to", "smooth", "decay"), _sound),
}


def _ends(value: Mapping, low: float, high: float) -> tuple[float, float]:
    for name in ("from", "to"):
        if name not in value:
            raise CurveError(f"has no {name}: give from and to, the ends of its values")
    return to_number(value["from"], ("from",), low, high), to_number(
        value["to"], ("to",), low, high
    )
